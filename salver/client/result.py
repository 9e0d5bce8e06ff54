"""What the service answers, as frozen values."""

from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from salver.client.errors import UnexpectedAnswer


@dataclass(frozen=True)
class LabelScore:
    label: str
    score: float


@dataclass(frozen=True)
class ImageSize:
    """In pixels, of an image as a person sees it."""

    width: int
    height: int


@dataclass(frozen=True)
class HeatMap:
    """What each place of an image adds to a label's logit, or takes from it: the mean of the values, plus the bias, is
    the logit.

    `values` are rows from top to bottom. They lie on `box`, (left, top, right, bottom) in pixels of the upright image,
    whose size is `image`; what the box leaves out the model did not see.
    """

    label: str
    label_index: int
    values: tuple[tuple[float, ...], ...]
    bias: float
    logit: float
    box: tuple[float, float, float, float]
    image: ImageSize


@dataclass(frozen=True)
class Score:
    """The answer for one image: the best label and its score, and all `scores` in label order or the `top` ones.

    Scores are logits, or probabilities when softmax was asked for. `label` is None when the model abstained: the best
    probability lies under its label's threshold, or the image is foreign, unlike the training photos, and such images
    were to be rejected. `label_index` tells the best label even then. What was not asked for is None or empty.
    """

    label: str | None
    label_index: int | None
    score: float
    scores: tuple[float, ...] = ()
    top: tuple[LabelScore, ...] = ()
    abstained: bool = False
    reason: str | None = None
    """Of an abstention, where foreign images were to be rejected."""
    familiarity: float | None = None
    """From -1 to 1: how much the image is like the training photos."""
    foreign: bool | None = None
    features: tuple[float, ...] = ()
    heat_map: HeatMap | None = None


@dataclass(frozen=True)
class ScoreError:
    """Why one image has no score: `type` is `urn:salver:NAME`, `detail` says what to do."""

    type: str
    title: str
    detail: str


@dataclass(frozen=True)
class Problem(ScoreError):
    """An error for a whole request (RFC 9457); `errors` has one entry an image when none of them could be scored."""

    errors: tuple[ScoreError, ...] = ()


@dataclass(frozen=True)
class _Failed:
    error: ScoreError


_ANSWER = TypeAdapter(list[Score | _Failed])
_PROBLEM = TypeAdapter(Problem)


def parse_answer(text: str | bytes) -> list[Score | ScoreError]:
    """The results in an answer with status 200, in the order of the images.

    Raises:
        UnexpectedAnswer: the text is not of the documented form.
    """
    try:
        items = _ANSWER.validate_json(text)
    except ValidationError:
        raise UnexpectedAnswer("The answer is not a list of scores: is the URL that of a Salver service?") from None
    return [item.error if isinstance(item, _Failed) else item for item in items]


def parse_problem(text: str | bytes) -> Problem | None:
    """The error in an answer with another status than 200; None when the answer does not come from Salver."""
    try:
        return _PROBLEM.validate_json(text)
    except ValidationError:
        return None


def parse_serialized_result(json_text: str) -> list[tuple[float, ...]]:
    """The scores of each image, in label order, as `CNTKTLModel.parse_serialized_result` of the 2018 package gave them.

    Raises:
        UnexpectedAnswer: the text is not an answer, or an image in it has no scores.
    """
    return [_scores(index, result) for index, result in enumerate(parse_answer(json_text))]


def _scores(index: int, result: Score | ScoreError) -> tuple[float, ...]:
    if isinstance(result, ScoreError):
        raise UnexpectedAnswer(f"Image {index} was not scored: {result.detail}")
    if not result.scores:
        raise UnexpectedAnswer(f"Image {index} has only its top labels in the answer: ask without top_k.")
    return result.scores

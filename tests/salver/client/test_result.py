import pytest

from salver.client.errors import UnexpectedAnswer
from salver.client.result import (
    HeatMap,
    ImageSize,
    LabelScore,
    Score,
    ScoreError,
    parse_answer,
    parse_problem,
    parse_serialized_result,
)

ERROR = '{"error": {"type": "urn:salver:url-failed", "title": "It failed", "detail": "Give another."}}'


def test_scores_top_labels_and_errors_are_parsed_in_order() -> None:
    scored = '{"label": "cup", "label_index": 1, "score": 2.5, "scores": [-1, 2.5]}'
    top = '{"label": null, "label_index": 0, "score": 0.4, "top": [{"label": "bowl", "score": 0.4}], "abstained": true}'
    assert parse_answer(f"[{scored}, {ERROR}, {top}]") == [
        Score("cup", 1, 2.5, scores=(-1.0, 2.5)),
        ScoreError("urn:salver:url-failed", "It failed", "Give another."),
        Score(None, 0, 0.4, top=(LabelScore("bowl", 0.4),), abstained=True),
    ]


def test_what_was_asked_for_besides_is_parsed() -> None:
    heat = '{"label": "cup", "label_index": 0, "values": [[-1, 2.5]], "bias": 0.5, "logit": 1.25, "box": [0, 1, 2, 3], '
    heat += '"image": {"width": 4, "height": 3}}'
    beside = '"reason": "It is foreign.", "familiarity": 0, "foreign": true, "features": [1, 2]'
    scored = f'{{"label": null, "label_index": 0, "score": 1.25, "abstained": true, {beside}, "heat_map": {heat}}}'
    [found] = parse_answer(f"[{scored}]")
    assert found == Score(
        None,
        0,
        1.25,
        abstained=True,
        reason="It is foreign.",
        familiarity=0.0,
        foreign=True,
        features=(1.0, 2.0),
        heat_map=HeatMap("cup", 0, ((-1.0, 2.5),), 0.5, 1.25, (0.0, 1.0, 2.0, 3.0), ImageSize(4, 3)),
    )


def test_a_field_that_a_later_service_adds_is_ignored() -> None:
    assert parse_answer('[{"label": "cup", "label_index": 0, "score": 1, "new": 2}]') == [Score("cup", 0, 1.0)]


@pytest.mark.parametrize("text", ["", "<html>", "{}", "[1]", '[{"label": "cup"}]', '[{"error": "text"}]', b"\xff"])
def test_an_answer_of_another_form_is_refused(text: str | bytes) -> None:
    with pytest.raises(UnexpectedAnswer, match="not a list of scores"):
        parse_answer(text)


def test_a_problem_that_is_not_of_the_documented_form_is_none() -> None:
    assert parse_problem(b"<html>502</html>") is None
    assert parse_problem(b'{"detail": "Not Found"}') is None


def test_the_scores_of_a_serialized_result_can_be_indexed_like_those_of_the_2018_package() -> None:
    scores = parse_serialized_result('[{"label": "cup", "label_index": 1, "score": 2.5, "scores": [-1.0, 2.5]}]')
    assert scores == [(-1.0, 2.5)]
    assert max(range(2), key=scores[0].__getitem__) == 1


def test_a_serialized_result_without_scores_names_the_image() -> None:
    good = '{"label": "cup", "label_index": 0, "score": 1, "scores": [1]}'
    with pytest.raises(UnexpectedAnswer, match="Image 1 was not scored: Give another"):
        parse_serialized_result(f"[{good}, {ERROR}]")
    with pytest.raises(UnexpectedAnswer, match="Image 0 has only its top labels"):
        parse_serialized_result('[{"label": "cup", "label_index": 0, "score": 1, "top": []}]')

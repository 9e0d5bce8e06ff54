"""What metrics.json says: strict JSON by a published schema (docs/metrics.schema.json).

A figure that cannot be computed is null and has a reason. Every area under a curve is of one label against the rest, so
that two labels are no special case.
"""

from typing import Literal

from salver.artifact.manifest import Frozen, PixelSpec, Provenance

SCHEMA_VERSION: Literal[1] = 1


class Estimate(Frozen):
    """A figure with its 95 % interval. `reason` says why the value, or the interval, is null."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


class RocCurve(Frozen):
    """The points run from (0, 0) to (1, 1); at most `curves.POINTS` of them, evenly chosen. None without an area."""

    area: Estimate
    false_positive_rate: tuple[float, ...] = ()
    true_positive_rate: tuple[float, ...] = ()


class PrecisionRecallCurve(Frozen):
    """The points run from recall 0 to 1, chosen in the same way; `area` is by trapezoids."""

    average_precision: Estimate
    area: Estimate
    recall: tuple[float, ...] = ()
    precision: tuple[float, ...] = ()


class Curves(Frozen):
    """Of one label against the rest, or of an average over labels."""

    roc: RocCurve
    precision_recall: PrecisionRecallCurve


class LabelMetrics(Frozen):
    """`support` images have the label, `predicted` get it."""

    label: str
    support: int
    predicted: int
    score_sum: float
    """Of the label's scores over all images: as many images as are to have it, were scores the chances of it."""
    precision: Estimate
    recall: Estimate
    f1: Estimate
    curves: Curves


class TopK(Frozen):
    """The share of images whose truth is among the `k` best labels; of equal scores the first label is the better."""

    k: int
    accuracy: Estimate


class ReliabilityBin(Frozen):
    """Images whose best probability is over `low` and at most `high`: the mean of it, and the share that is right."""

    low: float
    high: float
    images: int
    confidence: float | None
    accuracy: float | None


class Calibration(Frozen):
    """Expected calibration error of the best label, of images with an answer."""

    temperature: float | None
    error_before: Estimate
    error_after: Estimate
    bins_before: tuple[ReliabilityBin, ...]
    bins_after: tuple[ReliabilityBin, ...]


class Coverage(Frozen):
    """Were one threshold to hold for all labels: the share of images answered, and the share of those that is right."""

    threshold: tuple[float, ...]
    coverage: tuple[float, ...]
    accuracy: tuple[float, ...]


class Abstention(Frozen):
    """What the thresholds in the model file do, as the service applies them to softmax scores."""

    thresholds: dict[str, float]
    abstained: int
    coverage: Estimate
    accuracy: Estimate
    """Of the images that are answered."""


class Familiarity(Frozen):
    """What the model file's threshold of familiarity does; the first four as its manifest has them."""

    threshold: float
    max_false_alarms: float
    """The share that was asked for."""
    reached: float
    """The share that the threshold was set for; more than was asked where so few photos can give no less."""
    photos: int
    """Training photos that it was set by."""
    false_alarms: Estimate
    """The share of this set's images that is called foreign."""
    unknown: int
    """Images whose familiarity is no number, which are foreign."""


class Foreign(Frozen):
    """Images that are none of the model's labels."""

    folder: str
    images: int
    rejected: Estimate
    """The share that is called foreign."""


class Metrics(Frozen):
    """Of one model on one set of images. Images without an answer count as wrong everywhere but in the calibration."""

    images: int
    accuracy: Estimate
    """Overall: the share of images that is right."""
    class_averaged_accuracy: Estimate
    """The mean recall of the labels in the set."""
    macro_f1: Estimate
    """The mean over labels that are a truth or a prediction."""
    top_k: tuple[TopK, ...]
    absent_labels: tuple[str, ...]
    non_finite: int
    """Images without an answer: a logit is infinite or not a number."""
    abstention: Abstention
    labels: tuple[LabelMetrics, ...]
    confusion_matrix: tuple[tuple[int, ...], ...]
    """Counts, [truth][predicted], in the order of `labels`."""
    confusion_matrix_by_truth: tuple[tuple[float, ...] | None, ...]
    """Shares of each truth's images; null for a label without any."""
    micro: Curves
    macro: Curves
    calibration: Calibration
    coverage: Coverage
    familiarity: Familiarity | None = None
    """Null for a model without."""


class ModelFacts(Frozen):
    """What the model file says about itself."""

    file: str
    sha256: str
    base: str
    weights: str
    head: str
    precision: str
    temperature: float
    thresholds: dict[str, float]
    pixels: PixelSpec
    provenance: Provenance


class DataFacts(Frozen):
    """The images that were scored."""

    folder: str
    images: int
    counts: dict[str, int]
    fingerprint: str


class PartCounts(Frozen):
    """Photos by the part in which the model's run had them; `new` ones it did not have."""

    train: int
    validation: int
    test: int
    new: int


class Seen(Frozen):
    """What the model's run had of these photos, told by their content: a copy that was encoded anew is new."""

    folder: PartCounts
    """Of all photos in the folder that can be used."""
    scored: PartCounts
    """Of those that the figures are of."""
    other_label: int
    """Scored photos that have another label than they had in the run."""
    test_photos: int
    """That the run had."""
    test_scored: int
    """Of these, how many were scored."""
    test_not_taken: int
    """Of these, how many lie in the folder and were not scored: they are in another part now."""
    test_left_out: int
    """Of these, how many lie in the folder and are flagged as bad, quarantined, or in no part."""
    test_gone: int
    """Of these, how many do not lie in the folder: removed, moved elsewhere, or changed."""


class LabelChange(Frozen):
    """The recall of a label with either model; null where the set has no image of it."""

    label: str
    old: float | None
    new: float | None


class Comparison(Frozen):
    """Two models on the same images."""

    old: ModelFacts | None
    old_accuracy: Estimate
    old_class_averaged_accuracy: float
    difference: Estimate
    """New less old accuracy."""
    class_averaged_difference: Estimate
    only_new_right: int
    only_old_right: int
    p_value: float
    """McNemar's exact test: how likely a split at least as uneven is when neither model is better."""
    changed: int
    """Images that get another label, or an answer where there was none."""
    labels: tuple[LabelChange, ...]
    old_seen: PartCounts | None = None
    """What the old model's run had of the scored photos; null where that is not known."""


class Fold(Frozen):
    """One of the nets, and the images that it was tested on and did not learn."""

    images: int
    accuracy: Estimate
    temperature: float
    """That its logits were divided by, from folds of what it learnt."""
    resize: str
    """That it chose or was given."""
    reason: str | None = None
    """Why the temperature is 1 where nothing was fitted."""


class ByFolds(Frozen):
    """How each image was scored by a net that did not learn it: the test of a way to train, and of no one net."""

    base: str
    weights: str
    head: str
    seed: int
    asked: int
    """So many folds were asked for; there are fewer where too few images are apart from one another."""
    folds: tuple[Fold, ...]
    always_learnt: tuple[str, ...]
    """Names of images that every net learns and none is tested on: what shares their label belongs together."""
    weighted: bool
    """Whether images of some labels counted for more than others in what a net learnt."""


class MetricsFile(Frozen):
    """The whole of metrics.json; `validation` and `cross_validated` (the training photos, each as what had not learnt
    it answered) stand in a run folder only, `comparison` and `foreign` where they were asked for with --against and
    --foreign, `seen` where the model file or its run tells which photos it was made of, `by_folds` with --folds.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    model: ModelFacts | None
    """Null for a classifier that has not been exported."""
    data: DataFacts
    seen: Seen | None = None
    test: Metrics
    validation: Metrics | None = None
    cross_validated: Metrics | None = None
    comparison: Comparison | None = None
    foreign: Foreign | None = None
    by_folds: ByFolds | None = None
    """Null for the figures of one net."""

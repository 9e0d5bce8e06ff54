"""What Salver writes, told by its contents where it lies among photos: runs, reports, TensorBoard's files."""

from collections.abc import Set as AbstractSet

MODEL, RECORD, TENSORBOARD = "model.onnx", "run.json", "tensorboard"
FIGURES = ("history.json", "metrics.json", "report.html", "scores.csv")
PICTURES = ("history.png", "history.svg")
REPORT_PICTURES = tuple(
    f"{name}.{form}"
    for name in ("roc", "precision-recall", "confusion-matrix", "reliability", "coverage")
    for form in ("png", "svg")
)
STATE, WEIGHTS = "state.safetensors", "weights.safetensors"
CHECKPOINT = f"checkpoint/{STATE}"
"""Where a run that is not finished keeps how far it has come."""
AUGMENTED = "augmented.csv"
_MARKS = (
    {MODEL, RECORD},
    {MODEL, "checkpoint"},
    {"metrics.json", "report.html"},
    {STATE},
    {WEIGHTS},
    {AUGMENTED},
)
_EVENTS = "events.out.tfevents."


def is_own(names: AbstractSet[str]) -> bool:
    """Whether a folder with these entries is one that a command of Salver's wrote."""
    return any(marks <= names for marks in _MARKS) or any(name.startswith(_EVENTS) for name in names)


def is_own_picture(name: str) -> bool:
    """Whether an image in such a folder is Salver's, and no photo of a person who put some there, too."""
    return name in PICTURES or name in REPORT_PICTURES

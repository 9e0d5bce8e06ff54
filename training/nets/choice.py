"""Which nets, sizes and starting weights can be chosen: told before torch is imported."""

from pathlib import Path

from training.errors import SettingError, WeightsError

LAST_LAYERS = {
    "alexnet": "classifier.6",
    "resnet18": "fc",
    "resnet34": "fc",
    "resnet50": "fc",
    "resnet101": "fc",
    "resnet152": "fc",
    "mobilenet_v2": "classifier.1",
}
BASES = tuple(LAST_LAYERS)
MIN_IMAGE_SIDE = 64
"""Pixels. AlexNet's pooling needs 63; the others would still run at less, on a feature map of one cell."""

MAX_IMAGE_SIDE = 3584
"""Pixels; with `crop` the shorter side is then 4096, the most that a manifest takes."""


def check_base(base: str, weights: str) -> None:
    """What can be told before any work. Raises SettingError for an unknown base, WeightsError for the weights."""
    if base not in LAST_LAYERS:
        raise SettingError(f"There is no base '{base}'. Choose one of: {', '.join(BASES)}.")
    check_source(base, weights)


def check_source(base: str, weights: str) -> None:
    """Raises WeightsError for weights that do not exist: offline ones of another net, a file that is not there."""
    if weights == "offline" and base != "mobilenet_v2":
        raise WeightsError(
            f"There are offline weights for mobilenet_v2 alone, not for {base}. Take '--base mobilenet_v2', or "
            "'--weights imagenet' where the network is there, or '--weights FILE'."
        )
    if weights not in ("none", "imagenet", "offline") and not Path(weights).expanduser().is_file():
        raise WeightsError(f"There is no weights file '{weights}'. Name a file, or imagenet, offline or none.")


def check_size(height: int, width: int) -> None:
    """In pixels. Raises SettingError for a side that no net takes, or no manifest."""
    if not all(MIN_IMAGE_SIDE <= side <= MAX_IMAGE_SIDE for side in (height, width)):
        raise SettingError(
            f"The image size is {height} x {width}; each side is from {MIN_IMAGE_SIDE} to {MAX_IMAGE_SIDE} pixels."
        )

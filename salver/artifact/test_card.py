"""The test card in a model file: an image, and the logits that the trained net gave for it.

Whoever opens the file asks it for the card first, which tells another resize filter, orientation, normalisation or
label order before the first caller does.
"""

import numpy as np
from numpy.typing import NDArray

from salver.artifact.errors import ImageError, ModelFileError
from salver.artifact.manifest import Manifest
from salver.artifact.pixels import decode, to_pixels


def card_pixels(manifest: Manifest) -> NDArray[np.uint8]:
    """The test card's pixels [height, width, 3]. Raises ModelFileError."""
    try:
        return to_pixels(decode(manifest.golden.image, manifest.pixels), manifest.pixels)
    except ImageError as error:
        raise ModelFileError(f"The test card in the model's manifest cannot be decoded: {error}") from error


def check_card(manifest: Manifest, logits: NDArray[np.float32]) -> float:
    """How far logits [classes] are from those that training recorded for the test card, at most.

    Raises ModelFileError when that is beyond the card's tolerance, or no number.
    """
    golden = manifest.golden
    recorded = np.array([golden.logits[label] for label in manifest.labels])
    difference = float(np.abs(logits - recorded).max())
    if not difference <= golden.tolerance:
        raise ModelFileError(
            f"The model answers its own test card with logits up to {difference:.3g} away from what training "
            f"recorded (tolerance {golden.tolerance:.3g}): the file, its labels or its pixel preparation were "
            "changed, or this machine computes differently. Export the model again."
        )
    return difference

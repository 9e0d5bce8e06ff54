"""The histograms that a model file keeps of images that its training did not see; `salver drift` compares with them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from salver.artifact.bounds.model_bytes import only_outputs
from salver.artifact.facts.histograms import Histograms
from salver.artifact.manifest import OUTPUT_NAME, Manifest, OutputName, Reference
from salver.artifact.pixels import Header
from salver.system.cores import available_cores
from training.dataset.dataset import Dataset, evenly
from training.dataset.image import LabelledImage
from training.evaluation.model_file import answer
from training.export.gate import open_session

MOST_IMAGES = 5_000
"""Of more, so many are taken evenly: the comparison would hardly gain by the others."""
DECODED_TOGETHER = 64

Opened = tuple[NDArray[np.uint8], Header]


def measure_reference(model: bytes, manifest: Manifest, dataset: Dataset) -> Reference:
    """What the graph in `model`, with this manifest, answers for `dataset`, image by image as the service does.

    Nothing is chosen by it. Raises DatasetError for an image that cannot be read.
    """
    names: list[OutputName] = [OUTPUT_NAME]
    names += ["familiarity"] if manifest.familiarity else []
    session = open_session(only_outputs(model, names))
    histograms = Histograms(manifest)
    for pixels, header in _opened(dataset, manifest):
        look = histograms.look(pixels, header)
        if look is None:
            continue
        answers = answer(session, pixels[None], names)
        if np.isfinite(answers[OUTPUT_NAME]).all():  # what is not has no answer in the service either
            familiarity = float(answers["familiarity"][0]) if "familiarity" in answers else None
            histograms.count(look, answers[OUTPUT_NAME][0], familiarity)
    facts = {fact: {name: count for name, count in bins.items() if count} for fact, bins in histograms.counts().items()}
    return Reference(images=histograms.images, facts=facts)


def _opened(dataset: Dataset, manifest: Manifest) -> Iterator[Opened]:
    """In the order of the data set; a few are decoded ahead."""
    images = evenly(dataset.images, MOST_IMAGES)

    def opened(image: LabelledImage) -> Opened:
        return image.opened(manifest.pixels)

    with ThreadPoolExecutor(available_cores()) as pool:
        for start in range(0, len(images), DECODED_TOGETHER):
            yield from pool.map(opened, images[start : start + DECODED_TOGETHER])

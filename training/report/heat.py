"""Where a model file looked in the images of a report: heat, or occlusion for nets whose file gives no heat.

Both are signed, in logits, and kept as int8 with one scale for all labels and images, so that zero stays zero and one
image can be held against another.
"""

import base64
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from salver.artifact.manifest import MAPPED_BASES, OUTPUT_NAME, Frozen, Manifest, missing_output
from salver.artifact.pixels import seen_box
from salver.system.cores import available_cores
from training.errors import DatasetError, SettingError
from training.evaluation.evaluate import Evaluation
from training.evaluation.model_file import Answers

MOST_CELLS = 16
"""A side; larger maps are averaged, which leaves their mean as it is."""
OCCLUDED = 20
"""Images that occlusion is computed for, because each takes `PATCHES` squared passes through the net."""
PATCHES = 7
GREY = (124, 116, 104)
"""ImageNet's mean colour, to which the nets answer as if nothing were there."""

Maps = NDArray[np.float32]
Graph = Callable[[NDArray[np.uint8]], Answers]


class ImageHeat(Frozen):
    """Of one image: `labels` are those whose maps it has, the first of them map number `first`. `box` is what the net
    saw, left, top, right and bottom as shares of the upright image's sides, beyond 0 to 1 where it was padded.
    """

    box: tuple[float, float, float, float]
    labels: tuple[int, ...]
    first: int


class HeatMaps(Frozen):
    """`cells` is base64 of int8 [maps, rows, columns], of which 127 stands for `scale`; `images` has an entry for each
    picture of the page, null where there is no map. `kind` is null where there are none at all, and `reason` why.
    """

    kind: Literal["heat", "occlusion"] | None
    reason: str = ""
    rows: int = 0
    columns: int = 0
    scale: float = 0.0
    cells: str = ""
    images: tuple[ImageHeat | None, ...] = ()


class _Found(NamedTuple):
    """The maps [labels, rows, columns] of these labels, and the box."""

    maps: Maps
    labels: tuple[int, ...]
    box: tuple[float, float, float, float]


def heat_maps(evaluation: Evaluation, places: Sequence[int]) -> HeatMaps:
    """For the images at these places the map of the predicted label, and of the truth where that is another.

    There are none for a classifier that was not exported, and when the file is not what it was when it scored.
    """
    file = evaluation.model
    if file is None:
        why = (
            "each image has a net of its own fold." if evaluation.by_folds else "the classifier has not been exported."
        )
        return HeatMaps(kind=None, reason=why)
    occludes = "heat" not in file.outputs
    if occludes and file.manifest.base.startswith(MAPPED_BASES):
        return HeatMaps(kind=None, reason=missing_output(file.manifest, "heat"))
    if not places:
        return HeatMaps(kind=None, reason="no image has a picture.")
    try:
        graph = file.answering([OUTPUT_NAME] if occludes else ["heat"])

        def found(place: int) -> _Found | None:
            return _found(evaluation, place, graph, file.manifest, occludes=occludes)

        with ThreadPoolExecutor(available_cores()) as pool:
            all_found = list(pool.map(found, places[:OCCLUDED] if occludes else places))
    except SettingError as error:
        return HeatMaps(kind=None, reason=str(error))
    return _quantised(all_found, "occlusion" if occludes else "heat", len(places))


def _found(evaluation: Evaluation, place: int, graph: Graph, manifest: Manifest, *, occludes: bool) -> _Found | None:
    """None for an image without an answer, one that cannot be read any more, and a map that is not finite."""
    predicted, truth = int(evaluation.predictions[place]), int(evaluation.truths[place])
    if predicted < 0:
        return None
    labels = tuple(dict.fromkeys((predicted, truth)))
    try:
        pixels, header = evaluation.images[place].opened(manifest.pixels)
    except DatasetError:
        return None
    maps = occlusion(graph, pixels, labels) if occludes else _smaller(graph(pixels[None])["heat"][0, list(labels)])
    if not np.isfinite(maps).all():
        return None
    (width, height), (left, top, right, bottom) = header.upright_size, seen_box(header.upright_size, manifest.pixels)
    return _Found(maps, labels, (left / width, top / height, right / width, bottom / height))


def occlusion(graph: Graph, pixels: NDArray[np.uint8], labels: Sequence[int]) -> Maps:
    """[labels, patches, patches]: how far each label's logit falls when a grey patch covers that part of the input,
    uint8 [height, width, 3]; below zero where it rises.
    """
    height, width, _ = pixels.shape
    down, across = (np.linspace(0, side, PATCHES + 1).round().astype(int) for side in (height, width))
    logits = graph(pixels[None])[OUTPUT_NAME][0]
    maps = np.empty((len(labels), PATCHES, PATCHES), np.float32)
    for row in range(PATCHES):
        covered = np.repeat(pixels[None], PATCHES, axis=0)
        for column in range(PATCHES):
            covered[column, down[row] : down[row + 1], across[column] : across[column + 1]] = GREY
        drops = logits - graph(covered)[OUTPUT_NAME]
        maps[:, row] = drops[:, list(labels)].T
    return maps


def _smaller(maps: Maps) -> Maps:
    """At most `MOST_CELLS` a side, each the mean of what it covers."""
    _, rows, columns = maps.shape
    size = min(columns, MOST_CELLS), min(rows, MOST_CELLS)
    if size == (columns, rows):
        return maps
    return np.stack([np.asarray(Image.fromarray(each).resize(size, Image.Resampling.BOX)) for each in maps])


def _quantised(found: Sequence[_Found | None], kind: Literal["heat", "occlusion"], pictures: int) -> HeatMaps:
    given = [each for each in found if each is not None]
    if not given:
        return HeatMaps(kind=None, reason="no image has an answer, or none could be read again.")
    maps = np.concatenate([each.maps for each in given])
    scale = float(np.abs(maps).max()) or 1.0
    images: list[ImageHeat | None] = []
    first = 0
    for each in found:
        images.append(each and ImageHeat(box=each.box, labels=each.labels, first=first))
        first += len(each.labels) if each else 0
    cells = (maps * (127 / scale)).round().astype(np.int8)
    _, rows, columns = maps.shape
    return HeatMaps(
        kind=kind,
        rows=rows,
        columns=columns,
        scale=scale,
        cells=base64.b64encode(cells.tobytes()).decode(),
        images=(*images, *[None] * (pictures - len(images))),
    )

"""Where a heat map lies in the image as its sender sees it, and what its values add up to."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import httpx
import numpy as np
import pytest
from PIL import Image

from salver.artifact.manifest import PixelSpec
from tests.service.api.test_outputs import asked
from tests.support.complete import CELLS, COLOURS, complete
from tests.support.images import photo
from tests.support.live import running_service
from tests.support.pictures import orientation

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running_service(complete(tmp_path_factory.mktemp("model") / "model.onnx")) as client:
        yield client


def resized(resize: Literal["crop", "pad", "stretch"]) -> PixelSpec:
    return PixelSpec(height=64, width=64, resize=resize, shorter_side=64 if resize == "crop" else None)


MARK = (420, 140)
"""The centre of a red mark, at 35 % of both sides."""


def marked(turn: int) -> bytes:
    """A grey photo of 1200 x 400 pixels as a person sees it, with the mark; `turn` is its EXIF orientation."""
    pixels = np.full((400, 1200, 3), 120, np.uint8)
    pixels[MARK[1] - 20 : MARK[1] + 20, MARK[0] - 20 : MARK[0] + 20] = (230, 20, 20)
    image = Image.fromarray(pixels)
    if turn == 6:
        image = image.transpose(Image.Transpose.ROTATE_90)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95, exif=orientation(turn))
    return file.getvalue()


@pytest.mark.parametrize("turn", [1, 6])
@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
def test_the_hottest_cell_covers_the_mark_that_decides_the_label(
    tmp_path: Path, resize: Literal["crop", "pad", "stretch"], turn: int
) -> None:
    with running_service(complete(tmp_path / "model.onnx", resized(resize))) as client:
        answer = asked(client, marked(turn), heat_map=True)
    heat = answer["heat_map"]
    assert (heat["label"], heat["label_index"], heat["image"]) == ("red", 0, {"width": 1200, "height": 400})
    left, top, right, bottom = heat["box"]
    boxes = {"crop": [400, 0, 800, 400], "pad": [0, -400, 1200, 800], "stretch": [0, 0, 1200, 400]}
    assert [left, top, right, bottom] == pytest.approx(boxes[resize], abs=20)  # a pixel of the graph is 19 of these
    values = np.array(heat["values"])
    row, column = np.unravel_index(values.argmax(), values.shape)
    cell = (right - left) / CELLS, (bottom - top) / CELLS
    centre = left + (column + 0.5) * cell[0], top + (row + 0.5) * cell[1]
    assert abs(centre[0] - MARK[0]) <= 20 + cell[0] / 2
    assert abs(centre[1] - MARK[1]) <= 20 + cell[1] / 2


@pytest.mark.parametrize("label", [True, *COLOURS])
def test_the_mean_of_the_heat_and_the_bias_is_the_logit(client: httpx.Client, label: bool | str) -> None:
    answer = asked(client, photo(90, 60, seed=3), heat_map=label, add_softmax=True)
    logits = asked(client, photo(90, 60, seed=3))["scores"]
    heat = answer["heat_map"]
    assert np.shape(heat["values"]) == (CELLS, CELLS)
    assert heat["label"] == (answer["label"] if label is True else label)
    total = np.mean(heat["values"]) + heat["bias"]
    assert abs(total - heat["logit"]) <= 1e-4 * max(map(abs, logits))
    assert heat["logit"] == pytest.approx(logits[heat["label_index"]], abs=1e-6)
    assert {one for row in heat["values"] for one in row if one < 0} == set()  # red is no evidence against blue here

"""Where a model looked, in the report: heat that lies on the image, on one scale; occlusion where there is no heat."""

import base64
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from salver.artifact.manifest import OUTPUT_NAME
from salver.artifact.pixels import seen_box
from tests.support.images import solid
from tests.support.models import by_colour, nan_for_white
from tests.training.evaluation.evaluations import colour_folder, random_evaluation
from training.dataset.dataset import Dataset
from training.dataset.image import LabelledImage
from training.evaluation.evaluate import Evaluation, evaluate
from training.evaluation.model_file import ModelFile
from training.progress import Silent
from training.report import heat
from training.report.heat import GREY, OCCLUDED, PATCHES, HeatMaps, heat_maps, occlusion
from training.report.page_data import page_data, unfamiliar_first
from training.report.report import NO_EPOCHS, metrics_of, render
from training.run.classifier import Classifier

pytestmark = pytest.mark.torch

SIDE, MARK = 128, 32
COLOURS = {"blue": (20, 40, 220), "red": (220, 20, 20)}


def cells(found: HeatMaps) -> NDArray[np.int8]:
    return np.frombuffer(base64.b64decode(found.cells), np.int8).reshape(-1, found.rows, found.columns)


@pytest.fixture(scope="module")
def evaluation(finished_run: Path) -> Evaluation:
    return evaluate(finished_run / "model.onnx", Dataset.from_dir(finished_run.parent / "photos"))


@pytest.mark.slow
def test_heat_is_that_of_the_file_on_one_scale_and_zero_stays_zero(evaluation: Evaluation) -> None:
    places = list(range(len(evaluation.images)))
    found = heat_maps(evaluation, places)
    assert (found.kind, found.reason, len(found.images)) == ("heat", "", len(places))
    assert evaluation.model is not None
    dataset = Dataset(evaluation.images, evaluation.labels)
    wanted = evaluation.model.answers(dataset, ("heat",), Silent())["heat"]
    kept = cells(found)
    largest = 0.0
    for place, image in enumerate(found.images):
        assert image is not None
        truth, predicted = int(evaluation.truths[place]), int(evaluation.predictions[place])
        assert image.labels == ((predicted,) if truth == predicted else (predicted, truth))
        for number, label in enumerate(image.labels):
            largest = max(largest, float(np.abs(wanted[place, label]).max()))
            unpacked = kept[image.first + number] * (found.scale / 127)
            np.testing.assert_allclose(unpacked, wanted[place, label], atol=found.scale / 127)
    assert found.scale == pytest.approx(largest)
    assert int(np.abs(kept.astype(int)).max()) == 127


@pytest.mark.slow
def test_the_box_is_what_the_net_saw_of_the_upright_image(evaluation: Evaluation, tmp_path: Path) -> None:
    assert evaluation.model is not None
    spec = evaluation.model.manifest.pixels
    picture = Image.new("RGB", (120, 40), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "lying.jpg", exif=exif)
    picture.save(tmp_path / "wide.jpg")
    images = tuple(LabelledImage(tmp_path / name, evaluation.labels[0]) for name in ("lying.jpg", "wide.jpg"))
    two = replace(evaluation, images=images, logits=evaluation.logits[:2], truths=evaluation.truths[:2])
    lying, wide = heat_maps(two, [0, 1]).images
    assert lying is not None
    assert wide is not None
    left, top, right, bottom = seen_box((120, 40), spec)
    assert wide.box == pytest.approx((left / 120, top / 40, right / 120, bottom / 40))
    assert wide.box[0] > 0.3  # the crop cuts off the sides
    assert lying.box == pytest.approx((wide.box[1], wide.box[0], wide.box[3], wide.box[2]), abs=0.01)


@pytest.mark.slow
def test_a_map_of_many_cells_is_averaged_and_its_mean_stays() -> None:
    maps = np.random.default_rng(0).normal(size=(2, 48, 32)).astype(np.float32)
    smaller = heat._smaller(maps)
    assert smaller.shape == (2, 16, 16)
    np.testing.assert_allclose(smaller.mean(axis=(1, 2)), maps.mean(axis=(1, 2)), atol=1e-5)
    assert heat._smaller(maps[:, :7, :7]).shape == (2, 7, 7)


def test_a_net_without_heat_gets_occlusion_for_a_bounded_number_of_images(tmp_path: Path) -> None:
    evaluation = evaluate(by_colour(tmp_path / "model.onnx"), Dataset.from_dir(colour_folder(tmp_path / "photos", 10)))
    found = heat_maps(evaluation, list(range(30)))
    assert (found.kind, found.rows, found.columns) == ("occlusion", PATCHES, PATCHES)
    given = [image is not None for image in found.images]
    assert given == [True] * OCCLUDED + [False] * (30 - OCCLUDED)


def test_occlusion_is_how_far_the_logit_falls_when_a_part_is_grey(tmp_path: Path) -> None:
    graph = ModelFile.read(by_colour(tmp_path / "model.onnx", gain=1)).answering([OUTPUT_NAME])
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[..., 0] = 255
    red, green = occlusion(graph, pixels, [0, 1])
    assert red.sum() == pytest.approx((255 - GREY[0]) / 255, abs=1e-5)  # the model is linear: the patches add up
    assert green.sum() == pytest.approx(-GREY[1] / 255, abs=1e-5)
    assert red.min() > 0 > green.max()


def test_a_report_without_heat_says_why(tmp_path: Path) -> None:
    photos = Dataset.from_dir(colour_folder(tmp_path / "photos", 2))
    model = by_colour(tmp_path / "model.onnx")
    evaluation = evaluate(model, photos)
    assert heat_maps(replace(evaluation, model=None), [0]).reason == "the classifier has not been exported."
    file = ModelFile.read(model)
    file.write(model, file.manifest.model_copy(update={"base": "resnet18"}))
    left_out = heat_maps(evaluate(model, photos), [0])
    assert (left_out.kind, left_out.reason) == (None, "it was exported without. Export it again with all outputs.")
    gone = heat_maps(evaluation, [0])  # another file stands there by now
    assert gone.kind is None
    assert "has been exchanged since it was read" in gone.reason
    page = page_data(evaluation, metrics_of(evaluation), NO_EPOCHS, old=None, max_thumbnails=0)
    assert page.heat.reason == "no image has a picture."
    assert render(page).count("</script>") == 2


def test_an_image_without_an_answer_or_that_went_away_has_no_map(tmp_path: Path) -> None:
    for label, level in (("a", 255), ("b", 100), ("c", 40)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        (tmp_path / "photos" / label / "1.png").write_bytes(solid((level, level, level)))
    evaluation = evaluate(nan_for_white(tmp_path / "model.onnx"), Dataset.from_dir(tmp_path / "photos"))
    (tmp_path / "photos" / "c" / "1.png").unlink()
    assert [image is not None for image in heat_maps(evaluation, [0, 1, 2]).images] == [False, True, False]


def test_the_least_familiar_have_pictures_too(tmp_path: Path) -> None:
    evaluation = random_evaluation(50, 3)
    values = np.linspace(0, 1, 50, dtype=np.float32)
    values[[7, 9]] = np.nan
    images = tuple(LabelledImage(tmp_path / "none.png", "x") for _ in range(50))
    metrics = metrics_of(evaluation)
    page = page_data(
        replace(evaluation, images=images, familiarity=values), metrics, NO_EPOCHS, old=None, max_thumbnails=10
    )
    assert page.answers.familiarity is not None
    known = [page.answers.familiarity[place] for place in page.pictured]
    assert len(page.pictured) == len(page.thumbnails) == 10
    assert known.count(None) == 2
    assert set(range(8)) <= set(page.pictured)  # the worst
    assert unfamiliar_first(values)[:4].tolist() == [7, 9, 0, 1]


def marked(root: Path, count: int, seed: int) -> tuple[Dataset, dict[str, tuple[int, int]]]:
    """Grey noise with a coloured mark in one of the corners, which alone tells the labels; and which corner by name."""
    random, corners = np.random.default_rng(seed), {}
    for label, colour in COLOURS.items():
        (root / label).mkdir(parents=True)
        for number in range(count):
            grey = Image.fromarray(random.integers(60, 200, (12, 12), dtype=np.uint8)).convert("RGB")
            picture = grey.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            low, right = random.integers(0, 2, 2).tolist()
            picture.paste(colour, tuple((SIDE - MARK) * at + edge for edge in (0, MARK) for at in (right, low)))
            name = f"{label}/{number:03d}.png"
            picture.save(root / name)
            corners[name] = low, right
    return Dataset.from_dir(root), corners


@pytest.mark.soak
def test_the_heat_of_a_mark_that_decides_the_label_is_in_its_corner(tmp_path: Path) -> None:
    """In 95 % of images at least; by chance it would be in a quarter."""
    train, _ = marked(tmp_path / "train", 40, 1)
    test, corners = marked(tmp_path / "test", 40, 2)
    classifier = Classifier("mobilenet_v2", train.labels, SIDE, "offline", resize="stretch", device="cpu")
    classifier.fit_head(train, test)
    classifier.export(tmp_path / "model.onnx")
    evaluation = evaluate(tmp_path / "model.onnx", test)
    assert evaluation.accuracy > 0.95
    found = heat_maps(evaluation, list(range(len(test))))
    kept, inside = cells(found), []
    for place, image in enumerate(found.images):
        assert image is not None
        row, column = np.unravel_index(int(kept[image.first].argmax()), (found.rows, found.columns))
        corner = 2 * int(row) >= found.rows, 2 * int(column) >= found.columns
        inside.append(corner == tuple(map(bool, corners[test.images[place].name])))
    print(f"hottest cell in the mark's corner: {np.mean(inside):.3f} of {len(inside)} images")  # noqa: T201
    assert np.mean(inside) >= 0.95

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from typer.testing import CliRunner

from tests.support.images import picture
from tests.training.support.photos import photo_folder
from training.dataset.dataset import Dataset
from training.errors import DatasetError, SettingError
from training.fit.augmentation import PRESETS, augment, augmented, pipeline, seeded
from training.fit.recipe.recipe import Augmentation
from training.report.contact_sheet import contact_sheet, write_sheet

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_keeps_type_and_shape_and_follows_the_seed(preset: str) -> None:
    transform = pipeline(preset)
    pixels = torch.from_numpy(np.asarray(picture(60, 40)).copy()).permute(2, 0, 1)
    results = [seeded(transform, pixels, seed) for seed in range(8)]
    assert all(isinstance(result, torch.Tensor) and result.shape == (3, 40, 60) for result in results)
    assert all(isinstance(result, torch.Tensor) and result.dtype == torch.uint8 for result in results)
    changed = sum(not torch.equal(pixels, result) for result in results if isinstance(result, torch.Tensor))
    assert changed == 0 if preset == "none" else changed >= 2
    again = seeded(transform, picture(60, 40), 3)
    assert isinstance(again, Image.Image)
    assert again.tobytes() == seeded(transform, picture(60, 40), 3).tobytes()  # type: ignore[attr-defined]


def test_mirrored_images_are_turned_left_to_right_and_the_others_left_alone() -> None:
    pixels = torch.arange(2 * 3 * 3, dtype=torch.uint8).view(1, 2, 3, 3).expand(3, 2, 3, 3)
    flipped = augmented(pixels, "flip", torch.tensor([4, 3, 2]))
    assert flipped.dtype == torch.uint8
    assert torch.equal(flipped[1], pixels[1])
    assert torch.equal(flipped[0], pixels[0].flip(1))
    assert torch.equal(flipped[2], pixels[0].flip(1))


@pytest.mark.parametrize("preset", PRESETS)
def test_what_becomes_of_an_image_depends_on_its_own_number_alone(preset: Augmentation) -> None:
    """So several processes, each with a share of a minibatch, make of an image what one would."""
    pixels = torch.from_numpy(np.asarray(picture(60, 40)).copy()).expand(8, 40, 60, 3)
    draws = torch.arange(8) * 1001
    whole = augmented(pixels, preset, draws)
    assert (whole.shape, whole.dtype) == (pixels.shape, torch.uint8)
    assert torch.equal(whole[3::2], augmented(pixels[3::2], preset, draws[3::2]))
    changed = sum(not torch.equal(pixels[0], image) for image in whole)
    assert changed == 0 if preset == "none" else changed >= 4


def test_another_preset_is_refused_with_those_there_are() -> None:
    with pytest.raises(SettingError, match=r"'heavy' is not a preset.*none, flip, light, trivial, randaugment"):
        pipeline("heavy")


def test_each_pipeline_adds_its_results_whose_names_lead_back(tmp_path: Path) -> None:
    """As the 2018 package did: pipelines side by side, not one after the other."""
    train, _ = photo_folder(tmp_path / "photos", {"cup": 4, "bowl": 4}).split(0.5)
    before = {image.name: image.read() for image in train.images}
    pipelines = [v2.RandomHorizontalFlip(p=1.0), v2.Grayscale(3)]
    larger = augment(train, pipelines, copies=2, out=tmp_path / "out")
    assert larger.counts() == {"bowl": 10, "cup": 10}
    assert larger.part == "train"
    made = [image for image in larger.images if image.source]
    assert {image.source for image in made} == set(before)
    assert all(Path(image.source).stem in image.name and image.path.exists() for image in made)
    first = next(image for image in made if "-p0-" in image.name)
    original = next(image for image in train.images if image.name == first.source)
    mirrored = np.asarray(Image.open(original.path))[:, ::-1].astype(int)
    assert np.abs(np.asarray(Image.open(first.path)).astype(int) - mirrored).mean() < 3
    assert {image.name: image.read() for image in train.images} == before
    assert len((tmp_path / "out" / "augmented.csv").read_text().splitlines()) == 17


def test_the_same_seed_gives_the_same_pictures_and_another_seed_others(tmp_path: Path) -> None:
    dataset = photo_folder(tmp_path / "photos", {"cup": 1, "bowl": 1})
    results = [
        [image.sha256 for image in augment(dataset, [pipeline("light")], out=tmp_path / name, seed=seed).images]
        for name, seed in (("one", 1), ("two", 1), ("three", 2))
    ]
    assert results[0] == results[1] != results[2]


def test_a_preset_is_taken_by_its_name_alone_or_among_pipelines(tmp_path: Path) -> None:
    dataset = photo_folder(tmp_path / "photos", {"cup": 1, "bowl": 1})
    by_name, among, made = (
        [image.sha256 for image in augment(dataset, pipelines, out=tmp_path / name).images]
        for name, pipelines in (
            ("name", "light"),
            ("among", ["light", v2.Grayscale(3)]),
            ("made", [pipeline("light")]),
        )
    )
    assert by_name == made
    assert set(made) < set(among)
    assert contact_sheet(dataset, "light").tobytes() == contact_sheet(dataset, pipeline("light")).tobytes()
    with pytest.raises(SettingError, match="'heavy' is not a preset"):
        augment(dataset, "heavy", out=tmp_path / "nowhere")
    with pytest.raises(SettingError, match="'heavy' is not a preset"):
        contact_sheet(dataset, "heavy")
    assert not (tmp_path / "nowhere").exists()


def test_validation_and_test_parts_are_refused(tmp_path: Path) -> None:
    _, validation, test = photo_folder(tmp_path, {"cup": 6, "bowl": 6}).split(val_size=0.3, test_size=0.3)
    for part in (validation, test):
        with pytest.raises(DatasetError, match=f"This is the {part.part} part"):
            augment(part, [pipeline("light")], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_augmented_image_stays_with_its_source_in_a_split(tmp_path: Path) -> None:
    dataset = photo_folder(tmp_path / "photos", {"cup": 8, "bowl": 8})
    augmented = augment(dataset, [v2.Compose([v2.RandomInvert(p=1.0)])], out=tmp_path / "out")
    for part in augmented.split(0.5):
        names = {image.name for image in part.images}
        assert {image.source for image in part.images if image.source} <= names


def test_a_pipeline_that_gives_no_picture_and_an_unreadable_image_are_named(tmp_path: Path) -> None:
    dataset = photo_folder(tmp_path / "photos", {"cup": 1, "bowl": 1})
    with pytest.raises(DatasetError, match="Pipeline 0 gives a Image, not a PIL image"):
        augment(dataset, [v2.ToImage()], out=tmp_path / "out")
    (tmp_path / "photos" / "bowl" / "000.jpg").write_text("no photo")
    with pytest.raises(DatasetError, match=r"bowl/000\.jpg: .*not a supported image"):
        augment(Dataset.from_dir(tmp_path / "photos"), [pipeline("none")], out=tmp_path / "out")


def test_a_contact_sheet_has_a_row_for_an_image_of_each_label(tmp_path: Path) -> None:
    dataset = photo_folder(tmp_path / "photos", {"cup": 2, "bowl": 1})
    write_sheet(tmp_path / "sheet.png", dataset, pipeline("trivial"))
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (8 * 132 + 4, 3 * 148 + 4)


def test_a_contact_sheet_without_a_pipeline_has_a_row_for_each_label_with_its_count(tmp_path: Path) -> None:
    dataset = photo_folder(tmp_path, {"cup": 9, "bowl": 1})
    sheet = contact_sheet(dataset)
    assert sheet.size == (8 * 132 + 4, 2 * 148 + 4)
    top = 4 + 16
    white = (255, 255, 255)
    of_bowl, of_cup = (
        [sheet.getpixel((4 + column * 132 + 64, row * 148 + top + 64)) != white for column in range(8)]
        for row in (0, 1)
    )
    assert of_bowl == [True] + [False] * 7
    assert of_cup == [True] * 8
    (tmp_path / "bowl" / "000.jpg").write_text("no photo")
    with pytest.raises(DatasetError, match=r"bowl/000\.jpg: .*not a supported image"):
        contact_sheet(Dataset.from_dir(tmp_path))


def test_the_command_writes_the_sheet(tmp_path: Path) -> None:
    import typer

    from training.cli import data as data_commands

    photo_folder(tmp_path / "photos", {"cup": 1, "bowl": 1})
    app = typer.Typer()
    app.command()(data_commands.augment)
    words = [str(tmp_path / "photos"), "--preset", "randaugment", "--preview", str(tmp_path / "sheet.png")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "sheet.png").stat().st_size > 1000

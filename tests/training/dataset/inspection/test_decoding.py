"""A photo that costs too much is named by every part of training, and the others are read."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from salver.artifact.bounds.decoders import Decoders
from salver.artifact.errors import ImageTooLarge
from salver.artifact.manifest import PixelSpec
from salver.artifact.pixels import Limits
from salver.system.cache import Cache
from tests.support import hostile
from tests.support.images import encode
from tests.support.pictures import noise
from training.dataset.image import LabelledImage
from training.dataset.inspection import decoding
from training.dataset.inspection.files import inspect_files
from training.dataset.inspection.thumbnails import thumbnail
from training.errors import DatasetError

SPEC = PixelSpec(height=8, width=8, resize="stretch")


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """A good one, one of 25,000 scans, and one that takes longer than an image may."""
    files = {
        "good.png": encode(noise(16, 16), "PNG"),
        "scans.jpg": hostile.jpeg_of_empty_scans(),
        "slow.webp": encode(noise(1500, 1500), "WEBP", lossless=True, method=0, quality=0),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    return [tmp_path / name for name in files]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with Decoders(Limits(max_cpu_seconds=0.02)) as impatient:
        for room in ("inspection.inspection", "image", "inspection.thumbnails"):
            monkeypatch.setattr(f"training.dataset.{room}.decoders", lambda: impatient)
        yield


def test_the_check_names_it_and_looks_at_the_others(photos: list[Path]) -> None:
    began = time.monotonic()
    with Cache() as cache:
        good, scans, slow = inspect_files(photos, cache=cache)
    assert time.monotonic() - began < 3
    assert (good.problem, good.form) == ("", "PNG")
    assert "too many scans" in scans.problem
    assert "takes more than 0.02 seconds of a core to decode" in slow.problem


def test_training_names_it(photos: list[Path]) -> None:
    good, scans, slow = (LabelledImage(path, "cup") for path in photos)
    assert good.pixels(SPEC).shape == (8, 8, 3)
    for image, reason in ((scans, "scans.jpg: The JPEG image holds too many scans"), (slow, "slow.webp: .*seconds")):
        with pytest.raises(DatasetError, match=reason):
            image.pixels(SPEC)
        with pytest.raises(DatasetError, match=reason):
            image.decode(SPEC)


def test_the_annotation_page_shows_the_others(photos: list[Path], tmp_path: Path) -> None:
    good, *bad = photos
    assert thumbnail(good, tmp_path / "cache").startswith(b"\xff\xd8")
    for path in bad:
        with pytest.raises(ImageTooLarge):
            thumbnail(path, tmp_path / "cache")


def test_all_threads_of_a_process_share_its_decoders() -> None:
    assert decoding.decoders() is decoding.decoders()

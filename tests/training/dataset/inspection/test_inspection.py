import os
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from pydantic import TypeAdapter
from scipy.fft import dctn

from salver.system.cache import Cache
from tests.support.images import encode, photo, picture, solid
from tests.training.support.interrupting import Interrupting
from training.dataset.inspection.duplicates import joined, near_pairs
from training.dataset.inspection.files import inspect_files, known
from training.dataset.inspection.inspection import Inspection, inspect_bytes
from training.dataset.inspection.symmetries import turned, turned_spectra


def test_an_inspection_says_what_the_file_is() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    found = inspect_bytes(encode(picture(90, 60), "JPEG", exif=exif))
    assert (found.form, found.mode, found.width, found.height, found.orientation) == ("JPEG", "RGB", 90, 60, 6)
    assert found.upright_size == (60, 90)
    assert (len(found.phash), len(found.tile), found.problem) == (64, 192, "")
    assert inspect_bytes(encode(picture(90, 60), "PNG", exif=exif)).orientation == 6
    exif[0x0112] = 99
    assert inspect_bytes(encode(picture(90, 60), "JPEG", exif=exif)).upright_size == (90, 60)


def test_a_file_that_training_would_refuse_has_the_same_reason() -> None:
    assert "truncated or corrupt" in inspect_bytes(photo(90, 60)[:500]).problem
    assert "an HTML page" in inspect_bytes(b"<!doctype html><p>404").problem


def test_a_flat_image_is_like_no_other() -> None:
    inspections = [inspect_bytes(solid((shade, shade, shade))) for shade in (10, 11, 200)]
    assert near_pairs(inspections) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda image: encode(image.resize((150, 120)), "JPEG"),
        lambda image: encode(image.resize((500, 400), Image.Resampling.LANCZOS), "PNG"),
        lambda image: encode(image, "JPEG", quality=40),
        lambda image: encode(image, "WEBP", quality=60),
    ],
)
def test_copies_are_found_and_other_pictures_are_not(change: object) -> None:
    assert callable(change)
    images = [picture(300, 240, seed) for seed in range(12)]
    inspections = [inspect_bytes(data) for data in (*map(encode, images), *map(change, images))]
    pairs = [(index, index + 12) for index in range(12)]
    assert sorted(near_pairs(inspections)) == sorted(near_pairs(inspections, few=0)) == pairs


def test_linked_items_are_in_one_group() -> None:
    assert joined(6, [(0, 2), (2, 4), (1, 5)]) == [[0, 2, 4], [1, 5], [3]]
    assert joined(2, []) == [[0], [1]]


def test_what_is_known_is_neither_decoded_nor_read_again(tmp_path: Path) -> None:
    file, copy = tmp_path / "a.jpg", tmp_path / "copy.jpg"
    file.write_bytes(photo(60, 60))
    with Cache(tmp_path / "cache") as cache:
        (first,) = inspect_files([file], cache=cache)
        forged = Inspection(first.sha256, problem="from the cache")
        cache.put({first.sha256.encode(): TypeAdapter(Inspection).dump_json(forged)})
    copy.write_bytes(file.read_bytes())
    with Cache(tmp_path / "cache") as cache:
        assert inspect_files([file, copy], cache=cache) == [forged, forged]


def test_a_file_that_was_rewritten_is_looked_at_again_though_it_has_its_old_date(tmp_path: Path) -> None:
    file = tmp_path / "a.bmp"
    file.write_bytes(solid((1, 2, 3), form="BMP"))
    with Cache(tmp_path / "cache") as cache:
        (before,) = inspect_files([file], cache=cache)
        times = (file.stat().st_atime_ns, file.stat().st_mtime_ns)
        file.write_bytes(solid((1, 2, 4), form="BMP"))
        os.utime(file, ns=times)
        (after,) = inspect_files([file], cache=cache)
    assert before.size_bytes == after.size_bytes
    assert before.sha256 != after.sha256


def test_a_file_that_cannot_be_opened_has_a_problem_and_is_not_remembered(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    with Cache(tmp_path / "cache") as cache:
        (found,) = inspect_files([tmp_path / "gone.jpg"], cache=cache)
        assert found.problem == "The file cannot be read: No such file or directory."
        (tmp_path / "nowhere").write_bytes(photo(40, 40))
        assert inspect_files([tmp_path / "gone.jpg"], cache=cache)[0].problem == ""


def test_what_was_done_before_ctrl_c_is_known_afterwards(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.jpg" for number in range(6)]
    for number, file in enumerate(files):
        file.write_bytes(photo(40, 40, number))
    with pytest.raises(KeyboardInterrupt), Cache(tmp_path / "cache") as cache:
        inspect_files(files, Interrupting("inspecting", 3), cache)
    with Cache(tmp_path / "cache") as cache:
        assert list(known(files, cache)) == files[:4]


def test_without_a_folder_to_write_the_cache_lives_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "a.jpg").write_bytes(photo(40, 40))
    assert inspect_files([tmp_path / "a.jpg"])[0].problem == ""


MIRRORED, UPSIDE_DOWN = Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM


def brighter(image: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(factor)


@pytest.mark.parametrize(
    "change",
    [
        *(lambda image, way=way: image.transpose(way) for way in Image.Transpose),
        lambda image: brighter(image, 0.7),
        lambda image: brighter(image, 1.3),
        lambda image: ImageEnhance.Contrast(image).enhance(0.6),
        lambda image: ImageEnhance.Contrast(image).enhance(1.3),
        lambda image: brighter(image.transpose(MIRRORED), 0.7),
        lambda image: brighter(image.transpose(UPSIDE_DOWN).resize((150, 100)), 1.2),
    ],
)
def test_copies_that_are_mirrored_turned_or_of_another_brightness_are_found(change: object) -> None:
    assert callable(change)
    # Not from black to white, which these changes would cut off.
    images = [picture(300, 240, seed).point(lambda level: 40 + 0.6 * level) for seed in range(12)]
    inspections = [
        inspect_bytes(encode(image, "JPEG", quality=90)) for image in (*images, *(change(image) for image in images))
    ]
    pairs = [(index, index + 12) for index in range(12)]
    assert sorted(near_pairs(inspections)) == sorted(near_pairs(inspections, few=0)) == pairs
    assert sorted(near_pairs(inspections[::-1])) == [(23 - two, 23 - one) for one, two in reversed(pairs)]


def test_a_negative_and_other_colours_are_other_pictures() -> None:
    image = picture(300, 240)
    red, green, blue = image.split()
    others = [ImageOps.invert(image), Image.merge("RGB", (blue, red, green))]
    assert near_pairs([inspect_bytes(encode(one)) for one in (image, *others)]) == []


def test_the_hash_is_that_of_imagehash() -> None:
    for seed in range(6):
        bits = np.unpackbits(np.frombuffer(inspect_bytes(encode(picture(64, 64, seed))).phash[:8], np.uint8))
        assert (bits.reshape(8, 8) == imagehash.phash(picture(64, 64, seed)).hash).all()


def test_the_turned_spectra_are_those_of_the_turned_picture() -> None:
    image = np.asarray(picture(32, 32))[None, :, :, :1]
    spectra = turned_spectra(dctn(image[0, :, :, 0].astype(float))[:8, :8])
    for number in range(8):
        np.testing.assert_allclose(spectra[number], dctn(turned(image, number)[0, :, :, 0].astype(float))[:8, :8])
    assert len({turned(image, number).tobytes() for number in range(8)}) == 8

import json
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance, ImageOps

from tests.support.images import encode, photo, picture
from tests.training.support.photos import photo_folder
from training.dataset.check import CheckReport, check, checked
from training.dataset.dataset import Dataset
from training.errors import DatasetError
from training.progress import Silent

ROOT = Path(__file__).parents[3]
SMALL = "smaller than the net's input"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photo_folder(tmp_path / "photos", {"a": 10, "b": 10})
    return tmp_path / "photos"


def run(root: Path, against: Path | None = None, quarantine: bool = False) -> CheckReport:
    return check(root, against, quarantine=quarantine)


def opened(path: Path) -> Image.Image:
    return Image.open(BytesIO(path.read_bytes()))


def cases(report: CheckReport) -> dict[str, list[tuple[str, ...]]]:
    """Without the photos that are smaller than a net's input, which all of them here are."""
    return {
        finding.kind: [item.images for item in finding.items] for finding in report.findings if finding.kind != SMALL
    }


def command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "salver", "check", *map(str, words)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True)


def test_a_sound_folder_has_no_findings_and_its_counts_and_sizes(tmp_path: Path) -> None:
    photo_folder(tmp_path, {"a": 10, "b": 10}, 224, 224)
    report = run(tmp_path)
    assert report.findings == ()
    assert (report.images, report.counts, report.problems) == (20, {"a": 10, "b": 10}, 0)
    assert report.smallest == report.median == report.largest == (224, 224)


def test_mirrored_turned_and_brightened_copies_are_found(tmp_path: Path) -> None:
    """They lay on both sides of the split, and the check said "no problems"."""
    root = tmp_path / "photos"
    for part in ("train", "test"):
        photo_folder(root / part, {"a": 4, "b": 4}, 224, 224)
    for number, path in enumerate(sorted((root / "test").rglob("*.jpg"))):
        path.write_bytes(photo(224, 224, 100 + number))
    assert run(root).findings == ()
    soft = picture(224, 224, 900).point(lambda level: 40 + 0.6 * level)
    (root / "train" / "a" / "soft.jpg").write_bytes(encode(soft, "JPEG", quality=90))
    copy = ImageEnhance.Brightness(soft.transpose(Image.Transpose.ROTATE_90)).enhance(1.2)
    (root / "test" / "b" / "turned.jpg").write_bytes(encode(copy, "JPEG", quality=80))
    (root / "train" / "b" / "mirrored.jpg").write_bytes(encode(ImageOps.mirror(soft), "JPEG", quality=80))
    report = run(root)
    names = ("test/b/turned.jpg", "train/a/soft.jpg", "train/b/mirrored.jpg")
    assert cases(report) == {"near duplicates, two labels": [names], "in two parts": [names]}
    assert report.problems == 2
    against = run(root / "train", against=root / "test")
    assert cases(against)["in both sets"][0][:2] == ("a/soft.jpg", "b/mirrored.jpg")


def test_photos_that_are_smaller_than_the_net_sees_are_found_and_named_by_training(tmp_path: Path) -> None:
    """One side is enough; what is as large as the input is not small."""
    photo_folder(tmp_path, {"a": 3, "b": 3}, 224, 224)
    (tmp_path / "a" / "low.jpg").write_bytes(photo(400, 223, 900))
    (small,) = run(tmp_path).findings
    assert (small.kind, small.problem) == (SMALL, False)
    assert [(item.images, item.detail) for item in small.items] == [
        (("a/low.jpg",), "1 image under 224 x 224 pixels, the usual input")
    ]
    dataset = Dataset.from_dir(tmp_path)
    assert checked(dataset, "error", (223, 224), Silent()).notes == ()
    assert checked(dataset, "error", (224, 224), Silent()).notes == (
        "1 of 7 images is smaller than the net's input of 224 x 224 pixels and will be enlarged: a/low.jpg (400 x 223)",
    )


def test_a_truncated_and_a_false_jpeg_are_listed_and_the_rest_is_used(folder: Path) -> None:
    (folder / "a" / "003.jpg").write_bytes((folder / "a" / "003.jpg").read_bytes()[:400])
    (folder / "b" / "004.jpg").write_text("no photo")
    found = cases(run(folder))
    assert found == {"unreadable": [("a/003.jpg",), ("b/004.jpg",)]}
    with pytest.raises(DatasetError, match=r"2 of 20 images cannot be read.*\n  a/003\.jpg: .*\n  b/004\.jpg: "):
        checked(Dataset.from_dir(folder), "error", (64, 64), Silent())
    used = checked(Dataset.from_dir(folder), "skip", (64, 64), Silent())
    assert "used 18 of 20, 2 unreadable" in used.summary()
    assert len(used) == 18


def test_quarantine_lists_them_and_the_data_set_honours_it(folder: Path) -> None:
    good = (folder / "a" / "003.jpg").read_bytes()
    (folder / "a" / "003.jpg").write_bytes(good[:400])
    (folder / "b" / "004.jpg").write_text("no photo")
    report = run(folder, quarantine=True)
    assert report.problems == 0
    assert cases(report) == {"left out": [("a/003.jpg",), ("b/004.jpg",)]}
    assert "used 18 of 20, 2 quarantined" in Dataset.from_dir(folder).summary()
    (folder / "a" / "003.jpg").write_bytes(good)
    assert cases(run(folder, quarantine=True)) == {"left out": [("b/004.jpg",)]}
    assert (folder / "quarantine.csv").read_text().count("\n") == 2


def test_the_same_five_images_are_found_by_scan_check_and_count_whatever_they_are_called(folder: Path) -> None:
    forms = {"x.JPG": "JPEG", "y.jpeg": "JPEG", "x.webp": "WEBP", "x.TIF": "TIFF", "x.bmp": "BMP"}
    (folder / "c").mkdir()
    for number, (name, form) in enumerate(forms.items()):
        (folder / "c" / name).write_bytes(encode(picture(64, 64, 500 + number), form))
    (folder / "c" / "x.txt").write_text("notes")
    dataset, report = Dataset.from_dir(folder), run(folder)
    assert {image.path.name for image in dataset.images if image.label == "c"} == set(forms)
    assert dataset.counts()["c"] == report.counts["c"] == 5
    assert sum(part.counts()["c"] for part in dataset.split(val_size=0.2, test_size=0.2)) == 5
    assert cases(report) == {"ignored": [("c/x.txt",)]}


def test_copies_and_clashes_are_reported_with_all_paths(folder: Path) -> None:
    original = (folder / "a" / "000.jpg").read_bytes()
    for name in ("one.jpg", "two.jpg", "three.jpg"):
        (folder / "a" / name).write_bytes(original)
    (folder / "b" / "clash.jpg").write_bytes((folder / "a" / "001.jpg").read_bytes())
    (folder / "a" / "small.png").write_bytes(encode(opened(folder / "a" / "002.jpg").resize((48, 40))))
    (folder / "b" / "poor.jpg").write_bytes(encode(opened(folder / "a" / "003.jpg"), "JPEG", quality=40))
    report = run(folder)
    assert cases(report) == {
        "identical, two labels": [("a/001.jpg", "b/clash.jpg")],
        "near duplicates, two labels": [("a/003.jpg", "b/poor.jpg")],
        "identical": [("a/000.jpg", "a/one.jpg", "a/three.jpg", "a/two.jpg")],
        "near duplicates": [("a/002.jpg", "a/small.png")],
    }
    assert report.problems == 2


def test_images_that_another_folder_has_too_are_leaks(folder: Path, tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / "other" / label).mkdir(parents=True)
    (tmp_path / "other" / "a" / "same.jpg").write_bytes((folder / "a" / "000.jpg").read_bytes())
    small = opened(folder / "b" / "000.jpg").resize((60, 50))
    (tmp_path / "other" / "b" / "near.png").write_bytes(encode(small))
    leaks, _ = run(folder, tmp_path / "other").findings
    assert (leaks.kind, leaks.problem) == ("in both sets", True)
    assert [(item.images[0], Path(item.images[1]).name, item.detail) for item in leaks.items] == [
        ("a/000.jpg", "same.jpg", "identical"),
        ("b/000.jpg", "near.png", "near duplicates"),
    ]


def test_what_is_odd_but_works_is_noted(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (folder / "a" / "turned.jpg").write_bytes(encode(picture(90, 60, 300), "JPEG", exif=exif))
    (folder / "a" / "tiny.png").write_bytes(encode(picture(20, 30, 301)))
    (folder / "a" / "wide.png").write_bytes(encode(picture(500, 60, 302)))
    (folder / "a" / "grey.jpg").write_bytes(photo(64, 64, 303, mode="L"))
    (folder / "a" / "cmyk.jpg").write_bytes(photo(64, 64, 304, mode="CMYK"))
    (folder / "new.jpg").write_bytes(photo(64, 64, 305))
    report = run(folder)
    assert report.problems == 0
    assert cases(report) == {
        "tiny": [("a/tiny.png",)],
        "extreme shape": [("a/wide.png",)],
        "colour mode": [("a/cmyk.jpg",), ("a/grey.jpg",)],
        "turned by EXIF": [("a/turned.jpg",)],
        "unlabelled": [("new.jpg",)],
    }


def test_labels_that_training_cannot_use_are_problems_and_imbalance_is_not(tmp_path: Path) -> None:
    photo_folder(tmp_path, {"a": 31, "b": 3})
    (tmp_path / "c").mkdir()
    report = run(tmp_path)
    details = {
        finding.kind: [item.detail for item in finding.items] for finding in report.findings if finding.kind != SMALL
    }
    assert details == {
        "labels": ["'c' has 0 images; training, validation and test need one each"],
        "imbalance": ["'a' has 31 images, 'b' has 3"],
    }


def test_exit_codes_are_0_1_and_2_and_the_report_is_a_file(folder: Path, tmp_path: Path) -> None:
    sound = command(folder)
    assert (sound.returncode, sound.stderr) == (0, "")
    assert "no problems" in sound.stdout
    (folder / "a" / "000.jpg").write_text("no photo")
    broken = command(folder, "--out", tmp_path / "report.json")
    assert broken.returncode == 1
    assert "a/000.jpg" in broken.stdout
    assert json.loads((tmp_path / "report.json").read_text())["problems"] == 1
    assert not Dataset.from_dir(folder).ignored  # the report in DATA is known as Salver's own
    missing = command(tmp_path / "nowhere")
    assert missing.returncode == 2
    assert "No such file" in missing.stderr


def test_neither_the_check_nor_the_annotation_page_nor_a_build_loads_torch() -> None:
    rooms = "training.dataset.check, training.dataset.gather.build, training.dataset.annotate.server"
    script = f"import sys, {rooms}; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout == "False\n", result.stderr


def test_a_file_name_that_is_not_utf_8_is_checked_and_written_out(folder: Path) -> None:
    (folder / "a" / b"caf\xe9.jpg".decode(errors="surrogateescape")).write_text("no photo")
    result = command(folder, "--quarantine")
    assert (result.returncode, result.stderr) == (0, "")
    assert "udce9.jpg" in (folder / "check.json").read_text()
    assert "1 quarantined" in Dataset.from_dir(folder).summary()


def test_a_photo_without_a_label_is_no_second_label_for_its_copy(folder: Path) -> None:
    (folder / "loose.jpg").write_bytes((folder / "a" / "000.jpg").read_bytes())
    kinds = {finding.kind: finding for finding in run(folder).findings}
    assert "identical, two labels" not in kinds

import os
import re
import subprocess
import sys
import unicodedata
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from training.dataset.dataset import Dataset
from training.errors import DatasetError, SettingError

REPOSITORY = Path(__file__).parents[3]


def image_bytes(shade: int, kind: str = "png") -> bytes:
    stream = BytesIO()
    Image.new("RGB", (8, 8), (shade % 256, shade // 256, 40)).save(stream, kind)
    return stream.getvalue()


def write_images(folder: Path, count: int, start: int = 0) -> None:
    folder.mkdir(parents=True)
    for shade in range(start, start + count):
        (folder / f"{shade}.png").write_bytes(image_bytes(shade))


def write_labels(root: Path, counts: dict[str, int]) -> Path:
    for number, (label, count) in enumerate(counts.items()):
        write_images(root / label, count, start=1000 * number)
    return root


def names(dataset: Dataset) -> list[str]:
    return [f"{image.label}/{image.path.name}" for image in dataset.images]


def test_junk_at_the_root_and_in_a_label_is_ignored_and_counted_in_one_note(tmp_path: Path) -> None:
    root = write_labels(tmp_path, {"a": 5, "b": 5})
    for folder in (root, root / "a"):
        (folder / ".DS_Store").write_bytes(b"junk")
        (folder / "Thumbs.db").write_bytes(b"junk")
    write_images(root / "__MACOSX", 1)
    write_images(root / ".ipynb_checkpoints", 1)
    dataset = Dataset.from_dir(root)
    assert dataset.labels == ("a", "b")
    assert dataset.counts() == {"a": 5, "b": 5}
    assert len(dataset) == 10
    assert [path.name for path in dataset.ignored] == [
        *(".DS_Store", ".ipynb_checkpoints", "Thumbs.db", "__MACOSX"),
        *(".DS_Store", "Thumbs.db"),
    ]
    assert dataset.summary().splitlines()[:3] == ["10 images, 2 labels", "  a: 5", "  b: 5"]
    assert re.fullmatch(r"0\.0 MB in files of 0\.1 to 0\.1 kB", dataset.summary().splitlines()[3])
    assert dataset.summary().splitlines()[4].startswith("6 ignored: ")
    assert len(dataset.summary().splitlines()) == 5


def test_a_label_without_images_is_named(tmp_path: Path) -> None:
    root = write_labels(tmp_path, {"a": 2, "b": 2, "c": 0})
    (root / "c" / "notes.txt").write_text("no pictures yet")
    with pytest.raises(DatasetError, match="The label 'c' has no images"):
        Dataset.from_dir(root)


def test_a_single_label_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"only the label 'a'.* at least 2 labels"):
        Dataset.from_dir(write_labels(tmp_path, {"a": 2}))


def test_images_without_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cup.png").write_bytes(image_bytes(0))
    with pytest.raises(DatasetError, match=r"has 1 image and no folders, so no labels.* 2 labels.* annotations\.csv"):
        Dataset.from_dir(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"Cannot read .*nowhere: No such file"):
        Dataset.from_dir(tmp_path / "nowhere")


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "webp", "tiff", "bmp", "avif"])
def test_an_image_is_told_by_its_content_whatever_its_ending(tmp_path: Path, kind: str) -> None:
    root = write_labels(tmp_path, {"a": 1, "b": 1})
    (root / "a" / "no_ending").write_bytes(image_bytes(1, kind))
    (root / "a" / f"UPPER.{kind.upper()}").write_bytes(image_bytes(2, kind))
    (root / "a" / "wrong.txt").write_bytes(image_bytes(3, kind))
    assert Dataset.from_dir(root).counts() == {"a": 4, "b": 1}


def test_a_text_file_is_ignored_but_one_that_is_named_like_an_image_stays(tmp_path: Path) -> None:
    root = write_labels(tmp_path, {"a": 1, "b": 1})
    (root / "a" / "notes.txt").write_text("BMW, and a list of cups")
    (root / "a" / "broken.JPG").write_text("not a photo")
    dataset = Dataset.from_dir(root)
    assert names(dataset) == ["a/0.png", "a/broken.JPG", "b/1000.png"]
    assert dataset.ignored == (root / "a" / "notes.txt",)


def test_images_lie_at_any_depth_and_come_in_the_order_of_their_paths(tmp_path: Path) -> None:
    root = write_labels(tmp_path, {"b": 1, "a": 2})
    write_images(root / "a" / "2024" / "may", 1, start=500)
    assert names(Dataset.from_dir(root)) == ["a/1000.png", "a/1001.png", "a/500.png", "b/0.png"]


def test_labels_stand_in_natural_order(tmp_path: Path) -> None:
    root = write_labels(tmp_path, dict.fromkeys(("10", "2", "1", "cup 12", "cup 9", "cup"), 1))
    assert Dataset.from_dir(root).labels == ("1", "2", "10", "cup", "cup 9", "cup 12")


def test_names_survive_the_c_locale_as_utf_8_in_nfc(tmp_path: Path) -> None:
    labels = ["bird (1)", "naïve café", "곽"]
    write_labels(tmp_path, {unicodedata.normalize("NFD", label): 2 for label in labels})
    script = (
        "import sys\nfrom training.dataset.dataset import Dataset\n"
        "print('\\n'.join(Dataset.from_dir(sys.argv[1]).labels))"
    )
    environment = {"LANG": "C", "LC_ALL": "C", "PATH": os.environ["PATH"]}
    run = subprocess.run([sys.executable, "-c", script, tmp_path], cwd=REPOSITORY, env=environment, capture_output=True)
    assert run.stderr == b""
    assert run.stdout.decode("utf-8").splitlines() == labels


def test_two_folders_with_one_name_in_nfc_are_both_named(tmp_path: Path) -> None:
    root = write_labels(tmp_path, {"caf\u00e9": 1, "cafe\u0301": 1, "tea": 1})
    with pytest.raises(DatasetError, match=r"'cafe\\u0301' and 'caf\\xe9'.* one label .*'café'"):
        Dataset.from_dir(root)


def test_a_name_that_is_not_utf_8_is_refused_as_label_and_printed_when_it_is_a_file(tmp_path: Path) -> None:
    root = write_labels(tmp_path, {"a": 1, "b": 1})
    (root / os.fsdecode(b"caf\xe9.txt")).write_text("a note")
    assert "udce9.txt" in Dataset.from_dir(root).summary().encode("utf-8").decode()
    (root / os.fsdecode(b"caf\xe9")).mkdir()
    with pytest.raises(DatasetError, match="not UTF-8"):
        Dataset.from_dir(root)


def test_control_characters_in_names_are_written_out_and_refused_in_a_label(tmp_path: Path) -> None:
    """A terminal would obey them."""
    root = write_labels(tmp_path, {"a": 1, "b": 1})
    (root / "\x1b]0;title\x07\n.txt").write_text("a note")
    assert "1 ignored: " in (summary := Dataset.from_dir(root).summary())
    assert r"\x1b]0;title\x07\n.txt" in summary
    (root / "red\x1b[31m").mkdir()
    with pytest.raises(DatasetError, match="control characters") as caught:
        Dataset.from_dir(root)
    assert "\x1b" not in str(caught.value)


def test_files_and_labels_named_like_options_are_files_and_labels(tmp_path: Path) -> None:
    files = ["--help.jpg", "-rf.jpg", "$(touch x).jpg", "; touch x.jpg", "%s.jpg", "<b>.jpg"]
    for label in ("--out", "-"):
        (tmp_path / label).mkdir()
        for number, name in enumerate(files):
            (tmp_path / label / name).write_bytes(image_bytes(len(label) * 100 + number))
    dataset = Dataset.from_dir(tmp_path)
    assert dataset.counts() == {"-": len(files), "--out": len(files)}
    assert {image.path.name for image in dataset.images} == set(files)


def test_links_are_followed_under_the_label_they_stand_in_and_loops_end(tmp_path: Path) -> None:
    write_images(tmp_path / "elsewhere", 3)
    root = write_labels(tmp_path / "photos", {"b": 2})
    (root / "a").symlink_to(tmp_path / "elsewhere")
    (root / "a" / "x.png").symlink_to(root / "b" / "0.png")
    (root / "a" / "loop").symlink_to(root)
    (root / "b" / "self").symlink_to(root / "b" / "self")
    dataset = Dataset.from_dir(root)
    assert names(dataset) == ["a/0.png", "a/1.png", "a/2.png", "a/x.png", "b/0.png", "b/1.png"]
    assert dataset.ignored == (root / "a" / "loop", root / "b" / "self")


def test_a_link_to_nowhere_named_like_an_image_is_refused_by_name_when_read(tmp_path: Path) -> None:
    root = write_labels(tmp_path, {"a": 1, "b": 1})
    (root / "a" / "gone.jpg").symlink_to(tmp_path / "gone.jpg")
    dataset = Dataset.from_dir(root)
    assert len(dataset) == 3
    with pytest.raises(DatasetError, match=r"Cannot read the image .*a/gone\.jpg"):
        dataset.fingerprint()


def test_the_fingerprint_follows_labels_and_contents_but_not_names_and_places(tmp_path: Path) -> None:
    here = Dataset.from_dir(write_labels(tmp_path / "here", {"a": 3, "b": 3}))
    there = write_labels(tmp_path / "there", {"a": 3, "b": 3})
    (there / "a" / "0.png").rename(there / "a" / "renamed.png")
    assert Dataset.from_dir(there).fingerprint() == here.fingerprint()
    (there / "a" / "renamed.png").rename(there / "b" / "0.png")
    assert Dataset.from_dir(there).fingerprint() != here.fingerprint()


@pytest.mark.parametrize("stratify", [True, False])
def test_a_split_of_63_images_gives_41_and_22_and_loses_none(tmp_path: Path, stratify: bool) -> None:
    dataset = Dataset.from_dir(write_labels(tmp_path, {"bowl": 6, "cup": 20, "cutlery": 5, "plate": 32}))
    train, test = dataset.split(stratify=stratify)
    assert (len(train), len(test)) == (41, 22)
    assert sorted(names(train) + names(test)) == sorted(names(dataset))
    assert train.labels == test.labels == dataset.labels


def test_a_stratified_split_follows_the_largest_remainders(tmp_path: Path) -> None:
    dataset = Dataset.from_dir(write_labels(tmp_path, {"bowl": 6, "cup": 20, "cutlery": 5, "plate": 32}))
    train, test = dataset.split(0.66)  # shares 3.96, 13.2, 3.3, 21.12: the one image left over is a bowl
    assert train.counts() == {"bowl": 4, "cup": 13, "cutlery": 3, "plate": 21}
    assert test.counts() == {"bowl": 2, "cup": 7, "cutlery": 2, "plate": 11}


@pytest.mark.parametrize("train_size", [0.01, 0.5, 0.99])
def test_every_label_is_in_both_parts_whatever_the_share(tmp_path: Path, train_size: float) -> None:
    dataset = Dataset.from_dir(write_labels(tmp_path, {"a": 2, "b": 3, "c": 40}))
    for part in dataset.split(train_size):
        assert all(part.counts().values())


def test_a_seed_gives_the_same_split_on_every_machine(tmp_path: Path) -> None:
    """Written down once: contents alone decide, so these names hold for any folder, file system and Python."""
    root = tmp_path / "somewhere else"
    for label in ("b", "a"):
        (root / label).mkdir(parents=True)
        for number in range(5):
            (root / label / f"{number}.jpg").write_text(f"{label}{number}")
    dataset = Dataset.from_dir(root)
    assert names(dataset.split(0.4, seed=0)[0]) == ["a/0.jpg", "a/2.jpg", "b/0.jpg", "b/1.jpg"]
    assert names(dataset.split(0.4, seed=1)[0]) == ["a/0.jpg", "a/1.jpg", "b/0.jpg", "b/4.jpg"]


def test_identical_copies_never_cross_the_parts(tmp_path: Path) -> None:
    root = write_labels(tmp_path, {"a": 10, "b": 10})
    for copy in range(3):
        (root / "a" / f"copy {copy}.png").write_bytes(image_bytes(0))
    (root / "b" / "the same.png").write_bytes(image_bytes(1))
    dataset = Dataset.from_dir(root)
    for seed in range(20):
        train, test = dataset.split(0.5, seed=seed)
        assert {image.sha256 for image in train.images}.isdisjoint(image.sha256 for image in test.images)
        assert len(train) + len(test) == len(dataset)


def test_a_label_with_too_few_images_for_both_parts_is_named_with_its_count(tmp_path: Path) -> None:
    dataset = Dataset.from_dir(write_labels(tmp_path, {"a": 20, "b": 20, "c": 1}))
    with pytest.raises(DatasetError, match="'c' has 1"):
        dataset.split()


def test_the_training_part_has_every_label_however_small_it_is(tmp_path: Path) -> None:
    dataset = Dataset.from_dir(write_labels(tmp_path, {"a": 40, "b": 1}))
    for seed in range(5):
        train, test = dataset.split(0.02, stratify=False, seed=seed)
        assert (train.counts(), test.counts()) == ({"a": 1, "b": 1}, {"a": 39, "b": 0})


@pytest.mark.parametrize("train_size", [0.0, 1.0, 41, -0.1, float("nan")])
def test_a_share_that_leaves_a_part_empty_is_refused(tmp_path: Path, train_size: float) -> None:
    dataset = Dataset.from_dir(write_labels(tmp_path, {"a": 2, "b": 2}))
    with pytest.raises(SettingError, match="more than 0 and less than 1"):
        dataset.split(train_size)

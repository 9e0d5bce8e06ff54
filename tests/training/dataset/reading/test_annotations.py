from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.support.photos import photo_folder
from training.dataset.dataset import Dataset
from training.dataset.reading.annotations import (
    NOTE_CHARACTERS,
    Annotation,
    Quarantined,
    read_annotations,
    write_annotations,
    write_quarantine,
)
from training.errors import DatasetError


def test_annotations_override_folders_and_flags_leave_images_out(tmp_path: Path) -> None:
    photo_folder(tmp_path, {"cup": 3, "bowl": 3})
    (tmp_path / "annotations.csv").write_text(
        "path,label,flag,note\ncup/000.jpg,bowl,,\ncup/001.jpg,,bad,blurred\nbowl/002.jpg,mug,,new label\n"
    )
    dataset = Dataset.from_dir(tmp_path)
    assert dataset.counts() == {"bowl": 3, "cup": 1, "mug": 1}
    assert [(out.image.name, out.reason) for out in dataset.left_out] == [("cup/001.jpg", "flagged as bad")]
    assert "used 5 of 6, 1 flagged as bad" in dataset.summary()
    assert (tmp_path / "cup" / "000.jpg").exists()


def test_images_beside_the_folders_count_once_they_are_labelled(tmp_path: Path) -> None:
    photo_folder(tmp_path, {"cup": 1, "bowl": 1})
    for name in ("new.jpg", "other.jpg"):
        (tmp_path / name).write_bytes((tmp_path / "cup" / "000.jpg").read_bytes())
    write_annotations(tmp_path, {"new.jpg": Annotation(label="cup")})
    dataset = Dataset.from_dir(tmp_path)
    assert dataset.counts() == {"bowl": 1, "cup": 2}
    assert dataset.ignored == (tmp_path / "other.jpg",)


def test_a_label_whose_images_were_all_relabelled_is_gone_but_one_all_flagged_is_refused(tmp_path: Path) -> None:
    photo_folder(tmp_path, {"cup": 2, "bowl": 2, "mug": 1})
    write_annotations(tmp_path, {"mug/000.jpg": Annotation(label="cup")})
    assert Dataset.from_dir(tmp_path).labels == ("bowl", "cup")
    write_annotations(tmp_path, {"mug/000.jpg": Annotation(flag="bad")})
    with pytest.raises(DatasetError, match="The label 'mug' has no images left"):
        Dataset.from_dir(tmp_path)


def test_rows_come_back_as_they_were_written_and_empty_ones_are_left_out(tmp_path: Path) -> None:
    rows = {'곽/naïve, "x".jpg': Annotation("caf\u00e9", "bad", "two\nlines"), "b.jpg": Annotation(note="ok")}
    write_annotations(tmp_path, rows | {"c.jpg": Annotation()})
    assert read_annotations(tmp_path) == rows


def test_a_file_saved_by_a_spreadsheet_is_read_and_stale_rows_are_said(tmp_path: Path) -> None:
    photo_folder(tmp_path, {"cup": 1, "bowl": 1})
    table = "\ufeffpath,label,flag,note\r\ncup/000.jpg,cup,,fine\r\ngone.jpg,cup,,\r\n"
    (tmp_path / "annotations.csv").write_text(table, encoding="utf-8", newline="")
    assert "1 row of annotations.csv names no image: gone.jpg" in Dataset.from_dir(tmp_path).summary()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("path,label,flag,note\ncup/0.png,a\x1b[31m,,\n", r"line 2: the label 'a\\x1b\[31m' has control"),
        ("path,label,flag,note\na.jpg,,perhaps,\n", "line 2: the flag 'perhaps' is not known"),
        ("path,label,flag,note\na.jpg,,,\na.jpg,x,,\n", "line 3: 'a.jpg' has a row already"),
        ("path;label;flag;note\n", "has no column 'path'"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_its_line(tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "annotations.csv").write_text(table)
    with pytest.raises(DatasetError, match=message):
        read_annotations(tmp_path)


def test_a_file_in_quarantine_is_left_out_until_it_is_mended(tmp_path: Path) -> None:
    photo_folder(tmp_path, {"cup": 3, "bowl": 3})
    good = (tmp_path / "cup" / "000.jpg").read_bytes()
    (tmp_path / "cup" / "000.jpg").write_bytes(good[:300])
    digest = next(image.sha256 for image in Dataset.from_dir(tmp_path).images if image.name == "cup/000.jpg")
    write_quarantine(tmp_path, [Quarantined("cup/000.jpg", digest, "truncated")])
    assert "used 5 of 6, 1 quarantined" in Dataset.from_dir(tmp_path).summary()
    (tmp_path / "cup" / "000.jpg").write_bytes(good)
    assert len(Dataset.from_dir(tmp_path)) == 6


ANY = st.text(st.characters()) | st.text(st.sampled_from("=+-@'\"\t\r\n;, \x00\x1b\x85\ud800\udcffé\u0301"))


@settings(max_examples=300)
@given(ANY, ANY, ANY)
def test_whatever_is_written_is_read_back_equal_and_the_rest_is_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, label: str, note: str
) -> None:
    root = tmp_path_factory.mktemp("any")
    write_annotations(root, {"kept.jpg": Annotation("cup")})
    asked = {"kept.jpg": Annotation("cup"), name: Annotation(label, "bad", note)}
    try:
        write_annotations(root, asked)
    except DatasetError:
        asked = {"kept.jpg": Annotation("cup")}
    assert read_annotations(root) == asked


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (Annotation(label="a\x1b[31m"), "control characters"),
        (Annotation(label="a\x85b"), "control characters"),
        (Annotation(label=" cup"), "spaces around it"),
        (Annotation(label="cafe\u0301"), "Unicode form NFC"),
        (Annotation(label="x" * 256), "256 characters. Write at most 255"),
        (Annotation(note="x" * 131_073), "131,073 characters. Write at most 60,000"),
        (Annotation(note="\ud800"), "half a character"),
    ],
)
def test_what_could_not_be_read_back_is_refused_and_the_file_stays(
    tmp_path: Path, annotation: Annotation, reason: str
) -> None:
    write_annotations(tmp_path, {"a.jpg": Annotation("cup")})
    with pytest.raises(DatasetError, match=f"'b.jpg': .*{reason}"):
        write_annotations(tmp_path, {"a.jpg": Annotation(), "b.jpg": annotation})
    assert read_annotations(tmp_path) == {"a.jpg": Annotation("cup")}


@pytest.mark.parametrize("character", ["=", "\t", "\r", "'", '"', "\n", "é", "\x85", "\x00"])
def test_the_longest_note_of_any_character_is_kept(tmp_path: Path, character: str) -> None:
    rows = {"a.jpg": Annotation(note=character * NOTE_CHARACTERS)}
    write_annotations(tmp_path, rows)
    assert read_annotations(tmp_path) == rows


def test_a_data_set_says_what_was_said_and_takes_more(tmp_path: Path) -> None:
    dataset = photo_folder(tmp_path / "photos", {"cup": 6, "bowl": 6})
    first, second, third = dataset.images[:3]
    assert dataset.annotations() == {}
    train, _ = dataset.split(0.5)
    train.annotate(first, label="cup", note="looked at")  # a part knows its folder too
    dataset.annotate(second.name, flag="bad")
    dataset.annotate(third, note="a word")
    dataset.annotate(third)
    assert dataset.annotations() == {
        first.name: Annotation("cup", note="looked at"),
        second.name: Annotation(flag="bad"),
    }
    again = Dataset.from_dir(tmp_path / "photos")
    assert again.counts() == {"bowl": 4, "cup": 7}
    assert [out.image.name for out in again.left_out] == [second.name]


def test_a_data_set_refuses_to_say_what_cannot_be_kept(tmp_path: Path) -> None:
    dataset = photo_folder(tmp_path / "photos", {"cup": 1, "bowl": 1})
    for name, label, words in (
        ("gone.jpg", "", "no image 'gone.jpg'"),
        ("cup/000.jpg", "Cup", "as good as"),
        ("cup/000.jpg", " mug", "spaces around it"),
    ):
        with pytest.raises(DatasetError, match=words):
            dataset.annotate(name, label=label)
    (tmp_path / "list.csv").write_text("path,label\nphotos/cup/000.jpg,cup\nphotos/bowl/000.jpg,bowl\n")
    table = Dataset.from_csv(tmp_path / "list.csv")
    for ask in (table.annotations, lambda: table.annotate("photos/cup/000.jpg", note="hm")):
        with pytest.raises(DatasetError, match="is a table's"):
            ask()
    assert not (tmp_path / "photos" / "annotations.csv").exists()

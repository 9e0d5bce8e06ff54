"""Labels that a person takes for one: by case, white space and look-alike characters, on every way in."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from salver.cli import build
from tests.training.support.photos import photo_folder
from training.dataset.annotate.store import AnnotationStore, Change
from training.dataset.dataset import Dataset
from training.dataset.reading.alike import alike, described
from training.dataset.reading.annotations import Annotation, write_annotations
from training.errors import DatasetError


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("bowl", "Bowl"),
        ("STRASSE", "straße"),
        ("plate", "plate "),
        ("soup plate", "soup  plate"),
        ("soup plate", "soup\u00a0plate"),
        ("soup plate", "soup\u2003plate"),
        ("cup", "cup."),
        ("cup", "cu\u200bp"),
        ("cup", "cup\ufeff"),
        ("cup", "c\u00adup"),
        ("❤", "❤\ufe0f"),
        ("cup", "сup"),
        ("CUP", "СUР"),
        ("cup", "Сup"),
        ("cop", "сор"),
        ("вода", "Вода"),
        ("pot", "ρot"),
        ("cup", "ｃｕｐ"),
        ("fine", "ﬁne"),
        ("mug-red", "mug‐red"),
        ("baker's", "baker’s"),
        ("a", "a "),
    ],
)
def test_labels_that_a_person_takes_for_one_are_alike(one: str, other: str) -> None:
    assert alike(["something else", one, other]) == [tuple(sorted((one, other)))]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a", "A"),
        ("a", "а"),
        ("0", "O"),
        ("l1", "ll"),
        ("10", "1O"),
        ("cup", "cups"),
        ("cafe", "café"),
        ("u", "ü"),
        ("cup red", "cupred"),
        ("cup-red", "cup red"),
        ("рот", "pot"),
        ("か", "が"),
        ("v1.0", "v10"),
    ],
)
def test_labels_that_are_meant_to_be_two_are_not_alike(one: str, other: str) -> None:
    """Single letters among them: who sorts handwriting has `a` and `A`."""
    assert alike([one, other]) == []


def test_what_cannot_be_seen_is_written_out() -> None:
    assert described(["cup", "сup", "cu\u200bp", "cup "]) == (
        "'cup' and 'сup' (U+0441) and 'cu\u200bp' (U+200B) and 'cup ' (a blank at its end)"
    )


def test_label_folders_that_differ_by_case_or_white_space_are_a_finding_and_no_data_set(tmp_path: Path) -> None:
    """bowl and Bowl, plate and plate with a blank."""
    root = tmp_path / "photos"
    photo_folder(root, {"1": 3, "2": 3, "3": 3, "4": 3})
    for number, label in enumerate(("bowl", "Bowl", "plate", "plate "), 1):
        (root / str(number)).rename(root / label)
    checked = CliRunner(env={"COLUMNS": "300"}).invoke(build("check"), ["check", str(root)])
    assert checked.exit_code == 1
    (finding,) = (
        found for found in json.loads((root / "check.json").read_text())["findings"] if found["kind"] == "labels alike"
    )
    assert finding["problem"]
    assert [item["detail"] for item in finding["items"]] == [
        "'Bowl' and 'bowl': they differ by upper and lower case, or by white space, only",
        "'plate' and 'plate ' (a blank at its end): they differ by white space, trailing dots, or characters that "
        "cannot be seen, only",
    ]
    with pytest.raises(DatasetError, match=r"'Bowl' and 'bowl'.*Give their images one label"):
        Dataset.from_dir(root)
    for command in (["train", str(root), "--out", str(tmp_path / "run"), "--weights", "none"], ["split", str(root)]):
        ended = CliRunner().invoke(build(command[0]), command)
        assert (ended.exit_code, "'Bowl' and 'bowl'" in ended.output) == (1, True)
    write_annotations(
        root,
        {
            f"{folder}/{n:03d}.jpg": Annotation(label)
            for folder, label in (("Bowl", "bowl"), ("plate ", "plate"))
            for n in range(3)
        },
    )
    assert Dataset.from_dir(root).counts() == {"bowl": 6, "plate": 6}


def test_a_label_of_annotations_or_of_a_table_that_looks_like_another_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    photo_folder(root, {"cup": 2, "plate": 2})
    write_annotations(root, {"cup/000.jpg": Annotation("сup")})
    with pytest.raises(DatasetError, match=r"'cup' and 'сup' \(U\+0441\): they look alike"):
        Dataset.from_dir(root)
    (tmp_path / "list.csv").write_text("path,label\nphotos/cup/000.jpg,cup\nphotos/cup/001.jpg,Cup\n")
    with pytest.raises(DatasetError, match=r"list\.csv has the labels 'Cup' and 'cup'"):
        Dataset.from_csv(tmp_path / "list.csv")


def test_a_new_label_on_the_page_that_looks_like_one_that_is_there_is_refused(tmp_path: Path) -> None:
    """Those that are there can be given, so that two such labels can be made one."""
    photo_folder(tmp_path, {"cup": 2, "plate": 2})
    store = AnnotationStore(tmp_path)
    with pytest.raises(DatasetError, match="The new label 'Cup' is as good as 'cup'"):
        store.change([Change("plate/000.jpg", Annotation("Cup"))], store.version())
    assert not (tmp_path / "annotations.csv").exists()
    store.change([Change("plate/000.jpg", Annotation("cup"))], store.version())
    store.change([Change("plate/000.jpg", Annotation("mug"))], store.version())
    photo_folder(tmp_path / "more", {"Cup": 1, "plate": 1})
    (tmp_path / "more" / "Cup").rename(tmp_path / "Cup")
    both = AnnotationStore(tmp_path)
    both.change([Change("cup/000.jpg", Annotation("Cup"))], both.version())
    both.change([Change("Cup/000.jpg", Annotation("cup"))], both.version())


def test_a_build_fills_no_two_folders_that_a_person_takes_for_one(tmp_path: Path) -> None:
    photo_folder(tmp_path / "photos", {"a": 2, "b": 2})
    spec, words = tmp_path / "spec.json", ["build", str(tmp_path / "spec.json"), "--out", str(tmp_path / "out")]
    spec.write_text('{"cup": ["photos/a"], "Cup": ["photos/b"]}')
    refused = CliRunner().invoke(build("build"), words)
    assert (refused.exit_code, "'Cup' and 'cup'" in refused.output) == (1, True)
    spec.write_text('{"cup": ["photos/a"]}')
    assert CliRunner().invoke(build("build"), words).exit_code == 0
    spec.write_text('{"cup ": ["photos/a"], "CUP": ["photos/b"]}')
    refused = CliRunner().invoke(build("build"), words)
    assert (refused.exit_code, "'CUP' and 'cup'" in refused.output) == (1, True)
    spec.write_text('{"CUP": ["photos/b"]}')
    refused = CliRunner().invoke(build("build"), words)
    assert (refused.exit_code, "out has the labels 'CUP' and 'cup'" in refused.output) == (1, True)
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()] == ["cup"]

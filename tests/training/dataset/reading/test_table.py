import csv
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.dataset.reading.table import from_cell, read_table, to_cell, write_table
from training.errors import DatasetError

NASTY = st.text(st.sampled_from("=+-@＝\t\r\n;,'\" \x0b\x85\u2028a1|\x00\x1b"))
TEXT = NASTY | st.text(st.characters(exclude_categories=["Cs"]))
NAMES = (
    "=1+1.jpg",
    "-x.jpg",
    "_DSC0001.jpg",
    "+a, 'b' \"c\".jpg",
    "@home.jpg",
    "'=q.jpg",
    "''=q.jpg",
    "a;-b.jpg",
    "é.jpg",
)


@given(TEXT)
def test_every_text_comes_back_from_its_cell(text: str) -> None:
    assert from_cell(to_cell(text)) == text


@given(TEXT)
def test_no_cell_begins_a_formula_wherever_a_spreadsheet_cuts_it(text: str) -> None:
    for piece in re.split("[;\t\r\n]", to_cell(text)):
        assert not re.match(r"[\s'\"]*[=+\-@＝＋－＠]", piece) or piece.startswith("'")
    assert not to_cell(text).startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("  @SUM(1)", "'  @SUM(1)"),
        ("one\n=two", "one\n'=two"),
        ("fine;+1", "fine;'+1"),
        ("a-b, c=d", "a-b, c=d"),
        ("_DSC0001.jpg", "_DSC0001.jpg"),
        ("it's", "it's"),
    ],
)
def test_the_apostrophe_goes_where_a_formula_could_begin_and_nowhere_else(text: str, cell: str) -> None:
    assert to_cell(text) == cell


@settings(max_examples=60)
@given(st.lists(st.tuples(TEXT, TEXT), max_size=5))
def test_a_table_gives_back_the_rows_that_it_was_given(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("table") / "table.csv"
    kept = [row for row in rows if row != ("", "")]
    write_table(path, ("path", "note"), kept)
    assert [(row["path"], row["note"]) for _, row in read_table(path, ("path", "note"))] == kept


def test_numbers_stay_numbers_and_names_that_begin_like_formulas_stay_names(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_table(path, ("path", "logit"), [(name, -1.5) for name in NAMES])
    assert [row["path"] for _, row in read_table(path, ("path", "logit"))] == list(NAMES)
    with path.open(newline="", encoding="utf-8") as stream:
        assert {row["logit"] for row in csv.DictReader(stream)} == {"-1.5"}


def test_a_table_that_was_written_without_apostrophes_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("path,note\n=1+1.jpg,-x\n'quoted',it's\n")
    rows = [tuple(row.values()) for _, row in read_table(tmp_path / "table.csv", ("path", "note"))]
    assert rows == [("=1+1.jpg", "-x"), ("'quoted'", "it's")]


def test_a_table_that_ends_inside_of_a_cell_is_refused_unless_its_writer_may_have_been_killed(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text('path,note\na.jpg,fine\nb.jpg,"and no e')
    with pytest.raises(DatasetError, match=r"table\.csv is not a CSV file"):
        list(read_table(path, ("path", "note")))
    assert [row["path"] for _, row in read_table(path, ("path", "note"), torn_end=True)] == ["a.jpg", "b.jpg"]

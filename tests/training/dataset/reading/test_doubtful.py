from pathlib import Path

import pytest

from training.dataset.reading.doubtful import COLUMNS, Doubtful, read_doubtful, write_doubtful
from training.errors import DatasetError


def test_the_list_comes_back_in_its_order_whatever_the_names(tmp_path: Path) -> None:
    assert read_doubtful(tmp_path) == ()
    listed = (
        Doubtful("cup/=1+1.jpg", "cup", "bowl", 0.0, "test"),
        Doubtful("bowl/a,\u00e9.jpg", "bowl", "cup", 8.83e-38),
        Doubtful("plate/\udcff.jpg", "plate", "-cup", 0.25, "train"),
    )
    assert write_doubtful(tmp_path, listed) == tmp_path / "doubtful.csv"
    assert read_doubtful(tmp_path) == listed
    write_doubtful(tmp_path, ())
    assert read_doubtful(tmp_path) == ()


@pytest.mark.parametrize(
    "row", ["cup/0.jpg,cup,bowl,much,", "cup/0.jpg,cup,bowl,nan,", "cup/0.jpg,cup,bowl,2,", "a.jpg,cup,\x1b[2J,0,", "a"]
)
def test_a_damaged_row_is_named_with_what_to_do(tmp_path: Path, row: str) -> None:
    (tmp_path / "doubtful.csv").write_text(f"{','.join(COLUMNS)}\n{row}\n")
    with pytest.raises(DatasetError, match=r"doubtful\.csv, line 2 is damaged\. .* salver check --labels, or remove"):
        read_doubtful(tmp_path)

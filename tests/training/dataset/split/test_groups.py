import pytest

from training.dataset.split.groups import check_group_by, groups_by
from training.errors import SettingError


def test_the_first_parentheses_name_the_group_and_other_names_stand_alone() -> None:
    names = ["cup/anna_1.jpg", "plate/anna_2.jpg", "cup/ben_1.jpg", "cup/x.jpg"]
    assert groups_by("/([^_]+)_", names) == {
        "cup/anna_1.jpg": "anna",
        "plate/anna_2.jpg": "anna",
        "cup/ben_1.jpg": "ben",
    }
    assert groups_by("(?:cup|(plate))/", names)["cup/x.jpg"] == ""


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("[", "is not a regular expression"), ("a", "has no group"), ("", "has no group")],
)
def test_what_names_no_group_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        check_group_by(pattern)
    with pytest.raises(SettingError, match=message):
        groups_by(pattern, ["a"])


def test_an_expression_that_is_in_no_name_is_refused() -> None:
    with pytest.raises(SettingError, match=r"'\(x\+\)' matches no name, such as a/0\.jpg"):
        groups_by("(x+)", ["a/0.jpg"])

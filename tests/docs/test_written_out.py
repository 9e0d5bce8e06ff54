"""What is written out of the code is what the code says."""

from tools.house_picture import PICTURE, house_picture
from tools.settings_page import PAGE, settings_page


def test_the_settings_page_is_what_the_code_says() -> None:
    assert PAGE.read_text() == settings_page(), "service/settings.py changed: run  make docs"


def test_the_picture_of_the_rooms_is_what_the_contracts_say() -> None:
    assert PICTURE.read_text() == house_picture(), "a contract in pyproject.toml changed: run  make docs"

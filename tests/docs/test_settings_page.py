from tools.settings_page import PAGE, settings_page


def test_the_settings_page_is_what_the_code_says() -> None:
    assert PAGE.read_text() == settings_page(), "service/settings.py changed: run  make docs"

"""docs/security.md names the test behind each of its claims."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_the_security_page_names_exists() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", page))
    code = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 80
    assert named <= set(re.findall(r"def (test_\w+)\(", code))


def test_every_row_of_its_tables_names_a_test() -> None:
    page = (ROOT / "docs" / "security.md").read_text().partition("## Figures")[0]
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    claims = [row for row in rows if not row.endswith("| tests |")]
    assert len(claims) > 40
    assert [row for row in claims if "`test_" not in row] == []

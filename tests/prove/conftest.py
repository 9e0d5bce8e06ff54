"""What the proofs say at the end: what was tried, how often, and what was lost."""

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = [
        (report.nodeid.rpartition("::test_")[2].replace("_", " "), dict(report.user_properties), report.duration)
        for report in terminalreporter.getreports("passed")
        if "tried" in dict(report.user_properties)
    ]
    if rows:
        terminalreporter.section("tried, and lost")
    for name, found, seconds in rows:
        terminalreporter.write_line(f"{name}\n    tried {found['tried']} in {seconds:.0f} s; lost {found['lost']}")

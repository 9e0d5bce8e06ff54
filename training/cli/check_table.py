"""The report of `salver check` on a screen."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from salver.text import counted
from training.dataset.check import CheckReport
from training.dataset.findings import Finding, Item

SHOWN = 5
"""Cases of a kind; check.json has all of them."""


def print_report(report: CheckReport, console: Console) -> None:
    """Counts, sizes, and a row for each kind of finding."""
    counts = ", ".join(f"{label} {count}" for label, count in report.counts.items())
    smallest, median, largest = (
        " x ".join(map(str, size)) for size in (report.smallest, report.median, report.largest)
    )
    for line in (
        f"{counted(report.images, 'image')}, {counted(len(report.counts), 'label')}: {counts}",
        f"{report.size_bytes / 1e6:.1f} MB; pixels: smallest {smallest}, median {median}, largest {largest}",
        *report.notes,
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if report.findings:
        console.print(_table(report))
    verdict = counted(report.problems, "problem") if report.problems else "no problems"
    console.print(verdict, style="red" if report.problems else "green", highlight=False)


def _table(report: CheckReport) -> Table:
    table = Table("", "finding", "cases", show_lines=True)
    table.add_column(f"the first {SHOWN}", overflow="fold")
    for finding in report.findings:
        mark = "[red]problem[/red]" if finding.problem else "note"
        table.add_row(mark, finding.kind, str(len(finding.items)), escape(_cases(finding)))
    return table


def _cases(finding: Finding) -> str:
    lines = [_case(item) for item in finding.items[:SHOWN]]
    return "\n".join([*lines, "…"] if len(finding.items) > SHOWN else lines)


def _case(item: Item) -> str:
    names = ", ".join(_printable(item.images[:SHOWN])) + (", …" if len(item.images) > SHOWN else "")
    return f"{names}: {item.detail}" if names and item.detail else names or item.detail


def _printable(names: tuple[str, ...]) -> list[str]:
    return [name.encode(errors="backslashreplace").decode() for name in names]

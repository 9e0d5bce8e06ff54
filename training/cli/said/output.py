"""What the commands say at their end, for the person who started them."""

from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from salver.artifact.manifest import OUTPUT_NAMES, Manifest, missing_output
from salver.text import counted, printable
from training.dataset.check import CheckReport
from training.dataset.findings import Finding, Item
from training.run.stages import told

if TYPE_CHECKING:  # they need torch, which `salver check` does without
    from training.evaluation.evaluate import Evaluation
    from training.evaluation.schema import Estimate
    from training.export.precision import Comparison
    from training.run.folder import RunResult

FEW = 100
"""Test photos, below which it is said how wide the interval of the figure is."""
SHOWN = 5
"""Cases of a kind; check.json has all of them."""


def print_summary(result: "RunResult", console: Console, more: str = "") -> None:
    """Accuracies, the confusion matrix of the test set, the parity figure, where the files lie, what comes next.

    `more` is the command that tests all photos, for a test part of few.
    """
    from training.evaluation.limits.balanced import balanced_scores

    console.print(_accuracies(result))
    console.print(_confusion(result.test))
    parity = result.manifest.provenance.parity
    sizes = ", ".join(map(str, parity.batch_sizes))
    lines = [
        f"largest logit difference torch vs file: {parity.max_logit_difference:.1e} over "
        f"{counted(parity.images, 'image')} at batch {sizes}; tolerance {parity.tolerance:.1e}",
        *_outputs(result),
        *_remarks(result.test),
        *balanced_scores(replace(result.test, model=result.classifier.exported)),
        *_few(result.test, more),
        told(result.spent),
        f"the model file, its figures and its scores are in {result.out}",
        f"next: salver serve {result.out / 'model.onnx'}",
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def shown(estimate: "Estimate", form: str = ".4f") -> str:
    """A figure with its interval."""
    if estimate.value is None:
        return f"undefined ({estimate.reason})"
    if estimate.low is None or estimate.high is None:
        return format(estimate.value, form)
    return f"{estimate.value:{form}} ({estimate.low:{form}} to {estimate.high:{form}})"


def print_comparison(comparison: "Comparison", console: Console, *, replaced: bool = False) -> None:
    """What the new file loses and wins, and whether it has replaced another."""
    before, after, precision = comparison.before, comparison.after, comparison.precision
    lines = [
        f"validation accuracy, {counted(len(after.truths), 'image')}: float {before.accuracy:.4f}, {precision} "
        f"{after.accuracy:.4f} overall; {before.class_averaged_accuracy:.4f}, "
        f"{after.class_averaged_accuracy:.4f} class-averaged",
        f"{counted(comparison.changed, 'image')} {'has' if comparison.changed == 1 else 'have'} another best label",
        f"one image on one thread of this machine's CPU: {comparison.speed_ratio:.2f} times as fast as float",
        *([f"{comparison.path} stands in place of the file before"] if replaced else []),
        f"next: salver serve {comparison.path}",
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _outputs(result: "RunResult") -> list[str]:
    """What familiarity was set to, and which of the outputs that were asked for the file does not have, and why."""
    manifest, asked = result.manifest, result.asked
    left_out = [name for name in OUTPUT_NAMES if name not in asked]
    lines = [_familiarity(manifest)] if manifest.familiarity else []
    if "familiarity" in asked and not manifest.familiarity:
        lines.append("no familiarity: fewer than 4 different training photos have features to judge it by")
    if "heat" in asked and not manifest.heat:
        lines.append(f"no heat: {missing_output(manifest, 'heat')}")
    return [*lines, f"left out, as asked: {', '.join(left_out)}"] if left_out else lines


def _familiarity(manifest: Manifest) -> str:
    found = manifest.familiarity
    assert found is not None
    asked = f"{found.max_false_alarms:.2%} false alarms asked"
    reached = f"{found.reached:.2%} reached"
    if found.reached > found.max_false_alarms:
        reached += f": the least that {counted(found.photos, 'photo')} can give"
    return (
        f"familiarity: threshold {found.threshold:.4f}, {asked}, {reached}; set by "
        f"{counted(found.photos, 'different training photo')} and {counted(found.directions, 'direction')}"
    )


def _accuracies(result: "RunResult") -> Table:
    table = Table("accuracy", "images", "overall", "class-averaged", caption="in brackets: the 95 % interval")
    named = {
        "training, out of fold": result.classifier.cross_validated,
        "validation": result.validation,
        "test": result.test,
    }
    for name, evaluation in named.items():
        if evaluation is not None:
            found = evaluation.metrics()
            figures = shown(found.accuracy), shown(found.class_averaged_accuracy)
            table.add_row(name, str(len(evaluation.truths)), *figures)
    return table


def _confusion(evaluation: "Evaluation") -> Table:
    table = Table("test: truth \\ predicted", *evaluation.labels)
    for label, counts in zip(evaluation.labels, evaluation.confusion_matrix, strict=True):
        table.add_row(label, *(str(count) for count in counts))
    return table


def _few(test: "Evaluation", more: str) -> list[str]:
    """How little the test figure says, and what says more."""
    accuracy = test.metrics().accuracy
    if not more or len(test.truths) >= FEW or accuracy.low is None or accuracy.high is None:
        return []
    return [
        f"the test figure is of {counted(len(test.truths), 'photo')}, so its interval is "
        f"{100 * (accuracy.high - accuracy.low):.0f} points wide; to test each photo by folds: {printable(more)}"
    ]


def _remarks(evaluation: "Evaluation") -> list[str]:
    remarks = []
    if evaluation.absent_labels:
        remarks.append(f"not in the test set, so not in its average: {', '.join(evaluation.absent_labels)}")
    if evaluation.non_finite:
        have = "has" if evaluation.non_finite == 1 else "have"
        remarks.append(
            f"{counted(evaluation.non_finite, 'test image')} {have} logits that are not finite: counted as wrong"
        )
    return remarks


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
    names = ", ".join(as_printable(item.images[:SHOWN])) + (", …" if len(item.images) > SHOWN else "")
    return f"{names}: {item.detail}" if names and item.detail else names or item.detail


def as_printable(names: tuple[str, ...]) -> list[str]:
    """Bytes of a name that are no text, spelt out."""
    return [name.encode(errors="backslashreplace").decode() for name in names]

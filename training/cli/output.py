"""The end of a run, for the person who started it."""

from rich.console import Console
from rich.table import Table

from salver.text import counted
from training.evaluation.evaluate import Evaluation
from training.export.precision import Comparison
from training.run.folder import RunResult


def print_summary(result: RunResult, console: Console) -> None:
    """Accuracies, the confusion matrix of the test set, the parity figure, where the files lie, what comes next."""
    console.print(_accuracies(result))
    console.print(_confusion(result.test))
    parity = result.manifest.provenance.parity
    sizes = ", ".join(map(str, parity.batch_sizes))
    lines = [
        f"largest logit difference torch vs file: {parity.max_logit_difference:.1e} over "
        f"{counted(parity.images, 'image')} at batch {sizes}; tolerance {parity.tolerance:.1e}",
        *_remarks(result.test),
        f"{result.seconds:.0f} s; the model file, its figures and its scores are in {result.out}",
        f"next: salver serve {result.out / 'model.onnx'}",
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def print_comparison(comparison: Comparison, console: Console) -> None:
    """What the new file loses and wins."""
    before, after, precision = comparison.before, comparison.after, comparison.precision
    lines = [
        f"validation accuracy, {counted(len(after.truths), 'image')}: float {before.accuracy:.4f}, {precision} "
        f"{after.accuracy:.4f} overall; {before.class_averaged_accuracy:.4f}, "
        f"{after.class_averaged_accuracy:.4f} class-averaged",
        f"{counted(comparison.changed, 'image')} {'has' if comparison.changed == 1 else 'have'} another best label",
        f"one image on one thread of this machine's CPU: {comparison.speed_ratio:.2f} times as fast as float",
        f"next: salver serve {comparison.path}",
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _accuracies(result: RunResult) -> Table:
    table = Table("accuracy", "images", "overall", "class-averaged")
    for name, evaluation in (("validation", result.validation), ("test", result.test)):
        figures = f"{evaluation.accuracy:.4f}", f"{evaluation.class_averaged_accuracy:.4f}"
        table.add_row(name, str(len(evaluation.truths)), *figures)
    return table


def _confusion(evaluation: Evaluation) -> Table:
    table = Table("test: truth \\ predicted", *evaluation.labels)
    for label, counts in zip(evaluation.labels, evaluation.confusion_matrix, strict=True):
        table.add_row(label, *(str(count) for count in counts))
    return table


def _remarks(evaluation: Evaluation) -> list[str]:
    remarks = []
    if evaluation.absent_labels:
        remarks.append(f"not in the test set, so not in its average: {', '.join(evaluation.absent_labels)}")
    if evaluation.non_finite:
        have = "has" if evaluation.non_finite == 1 else "have"
        remarks.append(
            f"{counted(evaluation.non_finite, 'test image')} {have} logits that are not finite: counted as wrong"
        )
    return remarks

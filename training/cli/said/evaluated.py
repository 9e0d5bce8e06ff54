"""What `salver evaluate` says at its end."""

from typing import TYPE_CHECKING

from salver.text import counted
from training.cli.said.output import shown

if TYPE_CHECKING:
    from training.evaluation.schema import Familiarity, MetricsFile


def summary(metrics: "MetricsFile") -> list[str]:
    """The figures, a line each."""
    test, compared = metrics.test, metrics.comparison
    by = f", each by one of {len(metrics.by_folds.folds)} nets that did not learn it" if metrics.by_folds else ""
    lines = [
        f"{counted(test.images, 'image')}{by}: accuracy {shown(test.accuracy)} overall, "
        f"{shown(test.class_averaged_accuracy)} class-averaged",
    ]
    if metrics.seen and (used := metrics.seen.scored.train + metrics.seen.scored.validation):
        lines.append(f"{used} of them were trained on or watched, so these figures are too good")
    if test.absent_labels:
        lines.append(f"labels without images here, left out of the average: {', '.join(test.absent_labels)}")
    if test.non_finite:
        have = "has" if test.non_finite == 1 else "have"
        lines.append(f"{counted(test.non_finite, 'image')} {have} logits that are not finite: counted as wrong")
    if test.abstention.thresholds:
        found = test.abstention
        lines.append(
            f"with the thresholds {shown(found.coverage)} are answered, {shown(found.accuracy)} of them rightly"
        )
    if test.familiarity:
        lines.append(_familiarity_line(test.familiarity))
    if metrics.foreign:
        strange = metrics.foreign
        lines.append(
            f"of {counted(strange.images, 'foreign image')} in {strange.folder} {shown(strange.rejected)} are rejected"
        )
    if compared:
        lines.append(
            f"the old model: {shown(compared.old_accuracy)} overall; difference "
            f"{shown(compared.difference, '+.4f')}, {compared.only_new_right} newly right, "
            f"{compared.only_old_right} newly wrong, McNemar p = {compared.p_value:.3f}"
        )
        theirs = compared.old_seen
        if theirs and (used := theirs.train + theirs.validation):
            lines.append(f"the old model was trained on {used} of them or watched them, so its figures are too good")
    return lines


def _familiarity_line(found: "Familiarity") -> str:
    line = (
        f"familiarity: {shown(found.false_alarms)} are called foreign; the threshold {found.threshold:.4f} is set for "
        f"{found.reached:.4f}"
    )
    if found.unknown:
        line += f"; {counted(found.unknown, 'image')} without a number, called foreign"
    return line


def failures(metrics: "MetricsFile", fail_under: float | None, *, no_worse_than_old: bool = False) -> list[str]:
    """The limits that were missed, a line each."""
    accuracy, compared, missed = metrics.test.accuracy.value or 0.0, metrics.comparison, []
    if fail_under is not None and accuracy < fail_under:
        missed.append(f"failed: the overall accuracy {accuracy:.4f} is under {fail_under:g}")
    if no_worse_than_old and compared and compared.only_new_right < compared.only_old_right:
        lost = compared.only_old_right - compared.only_new_right
        missed.append(
            f"failed: the new model has {lost} fewer {'image' if lost == 1 else 'images'} right than the old one"
        )
    return missed

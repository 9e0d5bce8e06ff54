"""The commands that look at a model file: evaluate, threshold."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from salver.messages import errors_as_messages, show
from salver.text import counted
from training.cli.output import shown

if TYPE_CHECKING:
    from training.evaluation.schema import Familiarity, MetricsFile
    from training.evaluation.thresholds import Effect

# As in cli/train.py, imports stand inside the functions: `salver --help` has to be quick.

EPILOGS = {
    "evaluate": """Examples:

salver evaluate model.onnx holdout --out report --fail-under 0.9

salver evaluate model.onnx photos --split photos/split.csv --out report

salver evaluate new.onnx holdout --out report --against old.onnx

salver evaluate model.onnx holdout --out report --foreign other-photos""",
    "threshold": """Examples:

salver threshold model.onnx --label cup --threshold 0.8

salver threshold model.onnx --label cup --min-precision 0.95 --data validation""",
}

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model file that Salver wrote.")]
Split = Annotated[
    Path | None,
    typer.Option(metavar="FILE", show_default=False, help="From 'salver split': look at one part of the photos only."),
]
Part = Literal["train", "validation", "test"]


def evaluate(
    model: Model,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder of photos: one folder for each label.")],
    *,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the report is written.")],
    against: Annotated[
        Path | None, typer.Option(metavar="MODEL", show_default=False, help="An older model to compare with.")
    ] = None,
    foreign: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", show_default=False, help="Photos of other things: how many are told to be foreign."
        ),
    ] = None,
    split: Split = None,
    part: Annotated[Part, typer.Option(metavar="PART", help="Of --split: train, validation or test.")] = "test",
    max_thumbnails: Annotated[
        int,
        typer.Option(metavar="NUMBER", min=0, help="Photos that the page holds small pictures of, the worst first."),
    ] = 500,
    fail_under: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", min=0, max=1, show_default=False, help="Exit code 1 below this overall accuracy."
        ),
    ] = None,
    no_worse_than_old: Annotated[
        bool, typer.Option("--no-worse-than-old", help="Exit code 1 when fewer photos are right than with --against.")
    ] = False,
) -> None:
    """Score photos with a model file as the service does, and write a report.

    The report is the folder's report.html, to be opened in a browser, with
    metrics.json and pictures beside it.

    Exit code 0: written, and no limit was missed. 1: written, and the
    accuracy is below --fail-under or the old model's. 2: not written.
    """
    with errors_as_messages(code=2):
        from training.dataset.reading.places import alone, refuse_inside, refuse_run
        from training.dataset.test_set import read_test_set
        from training.errors import SettingError
        from training.evaluation.evaluate import evaluate as score
        from training.evaluation.limits.familiarity import foreign_share
        from training.evaluation.model_file import ModelFile
        from training.evaluation.plots import plots
        from training.progress import Screen, Shown
        from training.report.report import metrics_of, write_report

        if no_worse_than_old and against is None:
            raise SettingError("--no-worse-than-old needs the old model: name it with --against.")
        refuse_inside(data, out, "The report")
        if foreign is not None:
            refuse_inside(foreign, out, "The report")
            ModelFile.read(model).check_output("familiarity")  # before anything is scored
        refuse_run(out, "The folder")
        console = Screen()
        with alone(out), Shown(console) as progress:
            dataset = read_test_set(data, split, part)
            for note in dataset.notes:
                progress.report(note)
            evaluation = score(model, dataset, progress)
            strangers = None if foreign is None else foreign_share(model, foreign, progress)
            old = None if against is None else score(against, dataset, progress)
            progress.report("writing the report …")
            metrics = metrics_of(evaluation, old=old, foreign=strangers)
            write_report(out, evaluation, metrics, old=old, max_thumbnails=max_thumbnails)
            for name, plot in plots(evaluation, metrics.test).items():
                plot.save(out / name)
        failures = _failures(metrics, fail_under, no_worse_than_old=no_worse_than_old)
        for line in [*_summary(metrics), f"open {out / 'report.html'}", *failures]:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(int(bool(failures)))


def threshold(
    model: Model,
    *,
    label: Annotated[str, typer.Option(metavar="LABEL", help="The label that gets the threshold.")],
    value: Annotated[
        float | None,
        typer.Option(
            "--threshold", metavar="SCORE", min=0, max=1, show_default=False, help="From 0 to 1; 0 removes the label's."
        ),
    ] = None,
    min_precision: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", min=0, max=1, show_default=False, help="Choose the lowest that reaches this on --data."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", show_default=False, help="Validation photos: one folder for each label."),
    ] = None,
    split: Split = None,
    part: Annotated[Part, typer.Option(metavar="PART", help="Of --split: train, validation or test.")] = "validation",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default="MODEL itself", help="Where the new version is written."),
    ] = None,
) -> None:
    """Give a label a threshold: the service then gives it only to images that score as much.

    The threshold is a softmax score, after the temperature. It is kept in
    the model file, which becomes a new version, with how it was chosen. Choose
    on validation photos, not on those that the model is tested on.
    """
    with errors_as_messages():
        from training.dataset.reading.places import refuse_inside
        from training.dataset.test_set import read_test_set
        from training.errors import SettingError
        from training.evaluation.evaluate import evaluate as score
        from training.evaluation.model_file import ModelFile
        from training.evaluation.thresholds import choose_threshold, effect, set_threshold

        if (value is None) == (min_precision is None):
            raise SettingError("Give either --threshold or --min-precision.")
        if min_precision is not None and data is None:
            raise SettingError("--min-precision needs photos to measure it on: name their folder with --data.")
        if data is not None and out is not None:
            refuse_inside(data, out, "The model file")
        file = ModelFile.read(model)
        dataset = None if data is None else read_test_set(data, split, part)
        for note in dataset.notes if dataset else ():
            show(note)
        evaluation = None if dataset is None else score(file, dataset)
        if evaluation is not None and min_precision is not None:
            value = choose_threshold(evaluation, label, min_precision)
        assert value is not None
        fingerprint = None if dataset is None else dataset.fingerprint()
        written = set_threshold(file, out or model, label, value, min_precision=min_precision, fingerprint=fingerprint)
        if evaluation is not None:
            show(_effect_line(effect(evaluation, label, value)))
        given = f"has the threshold {value:.6g}" if value else "has no threshold"
        show(f"'{label}' {given}; {written.path} is version {written.sha256[:12]} now")


def _summary(metrics: "MetricsFile") -> list[str]:
    test, compared = metrics.test, metrics.comparison
    lines = [
        f"{counted(test.images, 'image')}: accuracy {shown(test.accuracy)} overall, "
        f"{shown(test.class_averaged_accuracy)} class-averaged",
    ]
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
    return lines


def _familiarity_line(found: "Familiarity") -> str:
    line = (
        f"familiarity: {shown(found.false_alarms)} are called foreign; the threshold {found.threshold:.4f} is set for "
        f"{found.reached:.4f}"
    )
    if found.unknown:
        line += f"; {counted(found.unknown, 'image')} without a number, called foreign"
    return line


def _failures(metrics: "MetricsFile", fail_under: float | None, *, no_worse_than_old: bool) -> list[str]:
    accuracy, compared, failures = metrics.test.accuracy.value or 0.0, metrics.comparison, []
    if fail_under is not None and accuracy < fail_under:
        failures.append(f"failed: the overall accuracy {accuracy:.4f} is under {fail_under:g}")
    if no_worse_than_old and compared and compared.only_new_right < compared.only_old_right:
        lost = compared.only_old_right - compared.only_new_right
        failures.append(
            f"failed: the new model has {lost} fewer {'image' if lost == 1 else 'images'} right than the old one"
        )
    return failures


def _effect_line(found: "Effect") -> str:
    return (
        f"on these photos: precision {shown(found.precision)}, recall {shown(found.recall)}, "
        f"{found.accepted} of {counted(found.predicted, 'image')} that would get the label "
        f"{'is' if found.accepted == 1 else 'are'} accepted"
    )

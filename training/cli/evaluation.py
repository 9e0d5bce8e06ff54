"""The command `salver evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from salver.messages import errors_as_messages
from salver.text import counted
from training.cli.output import shown

if TYPE_CHECKING:
    from training.dataset.dataset import Dataset
    from training.evaluation.model_file import ModelFile
    from training.evaluation.schema import Familiarity, MetricsFile

# As in cli/train.py, imports stand inside the functions: `salver --help` has to be quick.

EPILOGS = {
    "evaluate": """Examples:

salver evaluate model.onnx holdout --out report --fail-under 0.9

salver evaluate model.onnx photos --split photos/split.csv --out report

salver evaluate new.onnx holdout --out report --against old.onnx

salver evaluate model.onnx holdout --out report --foreign other-photos""",
}

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model file that Salver wrote.")]
Split = Annotated[
    Path | None,
    typer.Option(metavar="FILE", show_default=False, help="From 'salver split': look at one part of the photos only."),
]
Part = Annotated[
    Literal["all", "train", "validation", "test"] | None,
    typer.Option(
        metavar="PART",
        show_default=False,
        help="train, validation, test, or all: by --split, by the folders where they are parts, or by what the model "
        "file knows of its photos. Unless named, photos that the model was trained on are left out.",
    ),
]


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
    part: Part = None,
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
        from training.errors import SettingError

        if no_worse_than_old and against is None:
            raise SettingError("--no-worse-than-old needs the old model: name it with --against.")
        for folder in (data, *([foreign] if foreign else [])):
            refuse_inside(folder, out, "The report")
        refuse_run(out, "The folder")

        from training.evaluation.model_file import ModelFile

        file = ModelFile.read(model)
        older = None if against is None else ModelFile.read(against)

        from training.dataset.test_set import read_test_set
        from training.evaluation.evaluate import evaluate as score
        from training.evaluation.limits.familiarity import foreign_images, foreign_share
        from training.evaluation.limits.seen import described, known_photos, part_counts, seen
        from training.evaluation.plots import plots
        from training.progress import Screen, Shown
        from training.report.report import metrics_of, write_report

        if foreign is not None:
            file.check_output("familiarity")
            foreign_images(foreign)  # what cannot be scored is said before anything is
        console = Screen()
        with alone(out), Shown(console) as progress:
            known, old_known = known_photos(file), known_photos(older) if older else None
            chosen = read_test_set(data, split, part, known=known)
            dataset = chosen.scored
            _check_labels(dataset, file, older)
            found = None if known is None else seen(known, chosen)
            unknown = f"{model} does not say which photos it was trained on: these may be among them"
            for note in (*(described(found) if found else [unknown]), *dataset.notes):
                progress.report(note)
            evaluation = score(file, dataset, progress)
            strangers = None if foreign is None else foreign_share(file, foreign, progress)
            old = None if older is None else score(older, dataset, progress)
            progress.report("writing the report …")
            metrics = metrics_of(
                evaluation,
                old=old,
                foreign=strangers,
                seen=found,
                old_seen=part_counts(old_known, dataset.images) if old_known else None,
            )
            write_report(out, evaluation, metrics, old=old, max_thumbnails=max_thumbnails)
            for name, plot in plots(evaluation, metrics.test).items():
                plot.save(out / name)
        failures = _failures(metrics, fail_under, no_worse_than_old=no_worse_than_old)
        for line in [*_summary(metrics), f"open {out / 'report.html'}", *failures]:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(int(bool(failures)))


def _check_labels(dataset: "Dataset", file: "ModelFile", older: "ModelFile | None") -> None:
    """Both models have the labels of all photos. Raises DatasetError, before one is scored."""
    for model in (file, *([older] if older else [])):
        dataset.targets(model.labels, f"The model file {model.path}")


def _summary(metrics: "MetricsFile") -> list[str]:
    test, compared = metrics.test, metrics.comparison
    lines = [
        f"{counted(test.images, 'image')}: accuracy {shown(test.accuracy)} overall, "
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

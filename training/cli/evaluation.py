"""The command `salver evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from salver.messages import errors_as_messages
from training.cli import train_options as options
from training.ranges import OUTER_FOLDS

if TYPE_CHECKING:
    from rich.console import Console

    from training.dataset.dataset import Dataset
    from training.evaluation.model_file import ModelFile
    from training.evaluation.schema import MetricsFile

# As in cli/train.py, imports stand inside the functions: `salver --help` has to be quick.

EPILOGS = {
    "evaluate": """Examples:

salver evaluate model.onnx holdout --out report --fail-under 0.9

salver evaluate model.onnx photos --split photos/split.csv --out report

salver evaluate new.onnx holdout --out report --against old.onnx

salver evaluate model.onnx holdout --out report --foreign other-photos

salver evaluate photos --folds 5 --out report""",
}

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model file that Salver wrote.")]
ModelOrNone = Annotated[
    Path | None,
    typer.Argument(metavar="MODEL", show_default=False, help="A model file that Salver wrote; none with --folds."),
]
Data = Annotated[
    Path | None, typer.Argument(metavar="DATA", show_default=False, help="Folder of photos: one folder for each label.")
]
Folds = Annotated[
    int | None,
    typer.Option(
        metavar="NUMBER",
        min=OUTER_FOLDS.low,
        max=OUTER_FOLDS.high,
        show_default=False,
        help="Train so many nets, each on all but one part of DATA, and test each on that part. The options below say "
        "how, as those of 'salver train' do.",
    ),
]
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

OF_A_MODEL = ("against", "foreign", "split", "part", "no_worse_than_old")
OF_FOLDS = ("seed", "on_bad", "base", "weights", "image_size", "resize", "head", "recipe", "class_weights")
"""Options that mean something with --folds alone; the others, without it alone."""


def evaluate(
    context: typer.Context,
    model: ModelOrNone = None,
    data: Data = None,
    *,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the report is written.")],
    folds: Folds = None,
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
    seed: options.Seed = 0,
    on_bad: options.OnBad = "error",
    base: options.Base = None,
    weights: options.Weights = "imagenet",
    image_size: options.ImageSize = None,
    resize: options.Resize = "auto",
    head: options.Head = "softmax",
    recipe: options.Recipe = "default",
    class_weights: options.ClassWeights = "auto",
) -> None:
    """Score photos with a model file as the service does, and write a report.

    The report is the folder's report.html, to be opened in a browser, with
    metrics.json and pictures beside it.

    With --folds and no MODEL it tells how good models are that are trained on
    these photos: each photo is tested once, by a net that did not learn it.

    Exit code 0: written, and no limit was missed. 1: written, and the
    accuracy is below --fail-under or the old model's. 2: not written.
    """
    with errors_as_messages(code=2):
        from training.cli.said.evaluated import failures, summary
        from training.progress import Screen

        given = [path for path in (model, data) if path is not None]
        _refuse_mixtures(context, given, folds)
        console = Screen()
        if folds is not None:
            from training.cli.folds import report_by_folds

            lines, metrics = report_by_folds(
                given[0],
                out,
                folds,
                console,
                max_thumbnails=max_thumbnails,
                on_bad=on_bad,
                base=base,
                weights=weights,
                image_size=image_size,
                resize=resize,
                head=head,
                recipe=recipe,
                class_weights=class_weights,
                seed=seed,
            )
        else:
            lines, metrics = _report_of(
                given[0],
                given[1],
                out,
                console,
                against=against,
                foreign=foreign,
                split=split,
                part=part,
                max_thumbnails=max_thumbnails,
                no_worse_than_old=no_worse_than_old,
            )
        missed = failures(metrics, fail_under, no_worse_than_old=no_worse_than_old)
        for line in [*summary(metrics), *lines, f"open {out / 'report.html'}", *missed]:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(int(bool(missed)))


def _refuse_mixtures(context: typer.Context, paths: list[Path], folds: int | None) -> None:
    """A model file is tested, or a way to train. Raises SettingError."""
    from training.errors import SettingError

    others = OF_FOLDS if folds is None else OF_A_MODEL
    given = [f"--{name.replace('_', '-')}" for name in others if _was_given(context, name)]
    if not paths:
        raise SettingError("Name a model file and then a folder of photos, or with --folds the folder of photos alone.")
    if folds is None and len(paths) < 2:
        raise SettingError(
            f"There is {paths[0]} alone and no --folds: name a model file and then the photos to test it on, or add "
            "--folds 5 to test nets that are trained on the photos."
        )
    if folds is not None and len(paths) > 1:
        raise SettingError(
            "--folds trains nets of its own on the photos, so that no model file is tested: name the folder of photos "
            "alone, or leave --folds out."
        )
    if given:
        what = "says how nets are trained, so it needs --folds" if folds is None else "is for a model file, not --folds"
        what = what if len(given) == 1 else what.replace("says", "say").replace("it needs", "they need")
        what = what if len(given) == 1 else what.replace("is for", "are for")
        raise SettingError(f"{' and '.join(given)} {what}. Leave {'it' if len(given) == 1 else 'them'} out.")


def _was_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _report_of(
    model: Path,
    data: Path,
    out: Path,
    console: "Console",
    *,
    against: Path | None,
    foreign: Path | None,
    split: Path | None,
    part: Literal["all", "train", "validation", "test"] | None,
    max_thumbnails: int,
    no_worse_than_old: bool,
) -> tuple[list[str], "MetricsFile"]:
    """Score the photos and write the report; lines to print, and the figures."""
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
    from training.evaluation.limits.balanced import balanced_scores
    from training.evaluation.limits.familiarity import foreign_images, foreign_share
    from training.evaluation.limits.seen import described, known_photos, part_counts, seen
    from training.evaluation.plots import plots
    from training.progress import Shown
    from training.report.report import metrics_of, write_report

    if foreign is not None:
        file.check_output("familiarity")
        foreign_images(foreign)  # what cannot be scored is said before anything is
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
    return balanced_scores(evaluation), metrics


def _check_labels(dataset: "Dataset", file: "ModelFile", older: "ModelFile | None") -> None:
    """Both models have the labels of all photos. Raises DatasetError, before one is scored."""
    for model in (file, *([older] if older else [])):
        dataset.targets(model.labels, f"The model file {model.path}")

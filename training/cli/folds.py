"""`salver evaluate --folds`, and the command that `salver train` names for it."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from training.fit.recipe.recipe import NO_CHANGES, PRESETS, parse_class_weights
from training.ranges import SEED

if TYPE_CHECKING:
    from rich.console import Console

    from training.evaluation.schema import MetricsFile
    from training.run.settings import RunSettings

FOLDS = 5


def report_by_folds(
    data: Path,
    out: Path,
    folds: int,
    console: "Console",
    *,
    max_thumbnails: int,
    on_bad: Literal["error", "skip"],
    base: str | None,
    weights: str,
    image_size: str | None,
    resize: Literal["auto", "crop", "pad", "stretch"],
    head: Literal["softmax", "svm", "logistic", "lda"],
    recipe: str,
    class_weights: str,
    seed: int,
) -> tuple[list[str], "MetricsFile"]:
    """Train and test, and write the report, whole or not at all; lines to print, and the figures."""
    from training.cli.train_options import sides
    from training.dataset.reading.places import alone, refuse_inside, refuse_run
    from training.nets.choice import check_base, check_size
    from training.run.place import check_photos

    chosen = PRESETS.get(recipe)
    base = base or (chosen.base if chosen else "resnet18")
    size = sides(image_size or str(chosen.image_side if chosen else 224))
    factors = parse_class_weights(class_weights)
    SEED.check(seed)
    check_size(*size)
    check_base(base, weights)
    check_photos(data)
    refuse_inside(data, out, "The report")
    refuse_run(out, "The folder")

    from training.dataset.check import checked
    from training.dataset.dataset import Dataset
    from training.evaluation.limits.balanced import balanced_scores
    from training.evaluation.plots import plots
    from training.fit.recipe.recipe import check_weights
    from training.progress import Shown
    from training.report.report import metrics_of, write_report
    from training.run.by_folds import evaluate_by_folds
    from training.run.interrupt import Interruption

    with alone(out), Shown(console) as progress:
        dataset = Dataset.from_dir(data)
        check_weights(factors, dataset.labels)
        dataset = checked(dataset, on_bad, size, progress)
        for line in dataset.summary().splitlines():
            progress.report(line)
        if dataset.parts():
            progress.report("folders that are parts of a split are taken together: folds are of all photos")
        evaluation = evaluate_by_folds(
            dataset,
            folds,
            base,
            weights,
            head=head,
            recipe=chosen.recipe if chosen else None,
            image_size=size,
            resize=resize,
            class_weights=factors,
            seed=seed,
            progress=progress,
        )
        progress.report("writing the report …")
        metrics = metrics_of(evaluation)
        pictures = plots(evaluation, metrics.test)
        with Interruption():  # Ctrl-C in the second that it takes leaves no half of a report
            write_report(out, evaluation, metrics, max_thumbnails=max_thumbnails)
            for name, plot in pictures.items():
                plot.save(out / name)
    return balanced_scores(evaluation), metrics


def folds_command(settings: "RunSettings") -> str:
    """What tests by folds how the run was trained; a change to its recipe, and C, have no option there."""
    words = ["salver", "evaluate", str(settings.data), "--folds", str(FOLDS), "--out", f"{settings.out}-folds"]
    height, width = settings.image_size
    names = [name for name, preset in PRESETS.items() if preset.recipe == settings.recipe]
    weights = settings.class_weights
    given = {
        "--base": (settings.base, "resnet18"),
        "--weights": (settings.weights, "imagenet"),
        "--head": (settings.head, "softmax"),
        "--recipe": (names[0] if names else "default", "default"),
        "--image-size": (f"{height}" if height == width else f"{height}x{width}", "224"),
        "--resize": (settings.resize, "auto"),
        "--class-weights": (
            weights if isinstance(weights, str) else ",".join(f"{label}={each}" for label, each in weights.items()),
            "auto",
        ),
        "--seed": (str(settings.seed), "0"),
        "--on-bad": (settings.on_bad, "error"),
    }
    for option, (value, default) in given.items():
        words += [option, value] if value != default else []
    return shlex.join(words) + ("" if settings.changes == NO_CHANGES else ", which takes the recipe unchanged")

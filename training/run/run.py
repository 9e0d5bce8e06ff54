"""One run of `salver train`: from a folder of photos to a folder with the model file and everything about it."""

from collections.abc import Sequence
from dataclasses import replace

from salver.messages import speaks
from salver.text import printable
from training.dataset.check import checked
from training.dataset.dataset import Dataset
from training.dataset.reading.own import MODEL
from training.dataset.reading.places import alone
from training.dataset.split.file import check_placed
from training.dataset.split.shares import Grouping
from training.errors import Interrupted
from training.evaluation.evaluate import evaluate
from training.evaluation.thresholds import check_thresholds
from training.fit.recipe.recipe import MOST_PHOTOS, Recipe, check_weights
from training.progress import Progress
from training.run.classifier import GATE_PHOTOS, Classifier
from training.run.folder import CHECKPOINT, RunResult, is_finished, make_room, write_run
from training.run.interrupt import Interruption
from training.run.label_errors import doubt
from training.run.parts import Parts, groups_of, off_the_shares, split
from training.run.place import check_place
from training.run.settings import RunSettings
from training.run.stages import Stages

VALIDATION_SHARE = 0.1
"""Of all photos, where a part of them is watched."""


def train_run(settings: RunSettings, progress: Progress, stages: Stages | None = None) -> RunResult | None:
    """Train, evaluate, export and write the run folder. Raises TrainingError, and OSError for a file it cannot write.

    With `overwrite`, each file of an earlier run stands until this run's own takes its place at the end. With
    `resume`, the run goes on from its checkpoint; None when it is finished already. One run at a time writes to a
    folder: SettingError names the process that has it. Of several processes that train
    together, one exports, writes and gives the result; the others give None. `stages` may have begun before.
    """
    stages = stages or Stages()
    if not speaks():  # the first process holds the lock for all of them, and looks at what lies there
        return None if is_finished(settings) else _train(settings, progress, stages)
    check_place(
        settings.data,
        settings.out,
        base=settings.base,
        weights=settings.weights,
        device=settings.device,
        mixed_precision=settings.mixed_precision,
        tensorboard=settings.tensorboard,
        split_file=settings.split_file,
    )
    with alone(settings.out):
        if is_finished(settings):
            progress.report(f"The run in {settings.out} is finished, so there is nothing to resume.")
            return None
        make_room(settings, progress)
        return _train(settings, progress, stages)


def _train(settings: RunSettings, progress: Progress, stages: Stages) -> RunResult | None:
    data = Dataset.from_dir(settings.data)
    check_weights(settings.class_weights, data.labels)
    check_thresholds(settings.thresholds, data.labels)
    groups = groups_of(data, settings)
    if settings.split_file is not None:
        check_placed(settings.split_file, (image.name for image in data.images))
    classifier = _untrained(settings, data.labels)  # before photos are decoded: weights may not fit, or not be there
    data = checked(data, settings.on_bad, settings.image_size, progress)
    recipe = settings.changes.applied(settings.recipe or classifier.default_recipe(len(data)))
    val_size = _validation_share(settings, recipe, len(data))
    parts = split(data, settings, val_size)
    for line in [*describe(data, parts), *off_the_shares(data, parts, settings, val_size)]:
        progress.report(line)
    if settings.split_file is not None and data.parts():
        progress.report(f"{printable(settings.split_file)} says which photo is in which part, not the folders")
    stages.end("reading")
    _fit(classifier, settings, recipe, parts, groups, progress)
    stages.end("learning")
    doubt(settings, classifier, parts.train, progress)
    compared = parts.validation or parts.train.some(GATE_PHOTOS)
    reported, test = evaluate(classifier, compared), evaluate(classifier, parts.test)
    validation = reported if parts.validation else None
    classifier.part()
    stages.end("testing")
    if not classifier.is_main_process:
        return None
    if reason := classifier.temperature(validation).reason:
        progress.report(reason)
    progress.report(
        f"exporting, and comparing the file with the net on {'validation' if validation else 'training'} photos …"
    )
    fingerprints, without = parts.fingerprints_for_file() if settings.fingerprints else (None, "")
    if without:
        progress.report(without)
    manifest = classifier.export(
        settings.out / MODEL,
        parts.validation,
        metrics={"test_accuracy": test.accuracy, "test_class_averaged_accuracy": test.class_averaged_accuracy},
        thresholds=settings.thresholds,
        reported=reported,
        outputs=settings.outputs,
        max_false_alarms=settings.max_false_alarms,
        reference=parts.unseen,
        fingerprints=fingerprints,
    )
    stages.end("exporting")
    result = RunResult(
        out=settings.out,
        classifier=classifier,
        recipe=recipe,
        val_size=val_size,
        manifest=manifest,
        validation=validation,
        test=test,
        spent=stages.spent(),
        asked=settings.outputs,
    )
    write_run(result, settings, data, parts)
    stages.end("reporting")
    return replace(result, spent=stages.spent())


def _validation_share(settings: RunSettings, recipe: Recipe, photos: int) -> float:
    """Where each photo is judged by the folds there is no need for one; a large set has photos enough."""
    if settings.val_size is not None:
        return settings.val_size
    folds = photos <= MOST_PHOTOS if settings.head != "softmax" else recipe.views > 0
    return 0.0 if folds else VALIDATION_SHARE


def describe(data: Dataset, parts: Parts) -> list[str]:
    """What was found and how it was split, as lines to print."""
    sizes = ", ".join(f"{sum(counts.values())} {name}" for name, counts in parts.counts().items())
    return [*data.summary().splitlines(), f"split into {sizes}", *parts.remarks()]


def _untrained(settings: RunSettings, labels: Sequence[str]) -> Classifier:
    return Classifier(
        settings.base,
        labels,
        image_size=settings.image_size,
        weights=settings.weights,
        seed=settings.seed,
        resize=settings.resize,
        device=settings.device,
        mixed_precision=settings.mixed_precision,
        compiled=settings.compiled,
    )


def _fit(
    classifier: Classifier,
    settings: RunSettings,
    recipe: Recipe,
    parts: Parts,
    groups: Grouping | None,
    progress: Progress,
) -> None:
    if settings.head != "softmax":
        classifier.fit_head(
            parts.train,
            parts.validation,
            kind=settings.head,
            c=settings.svm_c,
            class_weights=settings.class_weights,
            seed=settings.seed,
            groups=groups,
            tensorboard=settings.tensorboard,
            progress=progress,
        )
        return
    with Interruption() as interruption:
        try:
            classifier.fit(
                parts.train,
                parts.validation,
                recipe=recipe,
                class_weights=settings.class_weights,
                seed=settings.seed,
                groups=groups,
                checkpoint=settings.out / CHECKPOINT,
                tensorboard=settings.tensorboard,
                asked_to_stop=interruption.asked,
                progress=progress,
            )
        except Interrupted as error:
            error.signal = interruption.signal or error.signal
            raise

"""A net, its labels and its pixels: fine-tune it or fit its last layer, evaluate it, export it, keep it."""

import copy
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from salver.artifact.manifest import OUTPUT_NAMES, Fingerprints, Manifest, OutputName
from training.dataset.dataset import Dataset, check_trainable
from training.dataset.split.shares import Grouping
from training.errors import SettingError
from training.evaluation.evaluate import Evaluation, evaluate
from training.evaluation.model_file import Answers, ModelFile
from training.evaluation.thresholds import check_thresholds
from training.export.export import export
from training.export.outputs import OutputNet
from training.fit.checkpoint import Checkpoint, Saved, read_saved, write_saved
from training.fit.device import Device, MixedPrecision, check_shared_memory, keep_large_blocks, make_accelerator
from training.fit.epochs import Fitting, train_epochs
from training.fit.features.familiarity import Fitted, fit_familiarity, judged_photos
from training.fit.features.vectors import extract, judge
from training.fit.heads.choice import Judged
from training.fit.heads.linear import (
    DEFAULT_C,
    Discriminant,
    Estimator,
    Kind,
    Linear,
    fit_linear,
    logistic_regression,
    make_head,
    put_layer,
)
from training.fit.heads.temperature import Temperature, temperature_of
from training.fit.history import Epoch, History
from training.fit.loop import infer
from training.fit.minibatches import Minibatches
from training.fit.recipe.recipe import (
    GENTLE,
    MOST_PHOTOS,
    ClassWeights,
    Recipe,
    default_recipe,
    label_weights,
    with_changes,
)
from training.fit.recipe.schedule import Schedule
from training.fit.state import FitState, TrainedOn
from training.fit.tail.folded import fit_last_blocks
from training.fit.tail.maps import LEAST_VIEWS, MAPS_BYTES, keep_maps, views_that_fit
from training.nets.nets import PixelNet, Resize, build_net, on_cpu, pixel_spec
from training.progress import Progress, Silent
from training.ranges import FALSE_ALARMS, SEED, check_outputs
from training.report.tensorboard import TensorBoard

Head = Literal["softmax", "svm"]
FOLDS = 5
GATE_PHOTOS = 256
"""Of those that were learnt, where no others are at hand: as many as a handful of minibatches."""


class Classifier:
    """`base` with a fresh last layer for `labels`; the same `seed` gives the same net.

    `image_size` is in pixels, a side or (height, width), from 64 up. `weights` is "imagenet", "offline", "none" or the
    path of a state_dict. `resize` "auto" takes crop or stretch, whichever serves a linear classifier of the training
    images' features better. `compiled` lets torch compile the net, which pays in long runs on a GPU. Raises
    SettingError and WeightsError.
    """

    def __init__(
        self,
        base: str,
        labels: Sequence[str],
        image_size: int | tuple[int, int] = 224,
        weights: str = "imagenet",
        *,
        seed: int = 0,
        resize: Resize | Literal["auto"] = "auto",
        device: Device = "auto",
        mixed_precision: MixedPrecision = "auto",
        compiled: bool = False,
        cache: Path | None = None,
    ) -> None:
        self.labels = tuple(labels)
        self.pixels = pixel_spec(image_size, "crop" if resize == "auto" else resize)
        self.head: Head = "softmax"
        self.history = History(())
        self._accelerator = make_accelerator(device, mixed_precision)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED.check(seed))
            net = PixelNet(build_net(base, len(self.labels), weights))
        self.net = net.to(self._accelerator.device).to(memory_format=torch.channels_last)
        self._chooses_resize = resize == "auto" and net.net.weights != "none"
        self._compiled = compiled
        self._cache = cache
        self.exported: ModelFile | None = None
        """The file that `export` has made of this net as it is."""
        self._trained_on: TrainedOn | None = None
        self._learnt: Dataset | None = None
        self._validation: Dataset | None = None
        self._judged: Judged | None = None
        self.start_features: Tensor | None = None
        """[images, width] of the training images by the net as it was loaded, where the fit needed them."""
        self._fitted: Fitted | None = None

    def default_recipe(self, photos: int) -> Recipe:
        """For so many photos to learn from: by folds, on maps that are kept, where the net is pretrained and memory
        holds them; else of all layers.
        """
        recipe = default_recipe(self.net.net.weights, photos)
        few = recipe.views and views_that_fit(self.net, self.pixels, photos, recipe.views) < LEAST_VIEWS
        return GENTLE if few else recipe

    def fit(
        self,
        train: Dataset,
        eval_dataset: Dataset | None = None,
        schedule: Schedule | Sequence[float] | None = None,
        batch_size: int | None = None,
        *,
        recipe: Recipe | None = None,
        class_weights: ClassWeights = "auto",
        seed: int = 0,
        groups: Grouping | None = None,
        checkpoint: Path | str | None = None,
        tensorboard: Path | str | None = None,
        asked_to_stop: Callable[[], bool] = lambda: False,
        progress: Progress | None = None,
    ) -> History:
        """Fine-tune by `recipe`, in which `schedule` (a rate for each epoch) and `batch_size` go first.

        The default recipe depends on weights and number of photos; docs/training.md has what it was measured to give.
        With a recipe of folds each photo is judged by a net that did not learn it (`cross_validated`); what belongs
        together, by content or by `groups`, lies in one fold. `eval_dataset` is watched after each epoch; it decides
        the temperature of a recipe without folds, and nothing else. The same seed on the same machine gives the same
        weights. With `checkpoint`, a file, everything is kept there after each epoch and when `asked_to_stop`, and a
        fit that finds it goes on from there. `tensorboard` is a folder for `training.report.tensorboard.TensorBoard`.

        Raises DatasetError before the first epoch when an image cannot be read, a label has no training images or a
        data set none at all, SettingError for settings that cannot work, Interrupted when it was asked to stop.
        """
        check_trainable(train, self.labels, eval_dataset)
        recipe = with_changes(recipe or self.default_recipe(len(train)), schedule, batch_size)
        progress = progress or Silent()
        weights = label_weights(class_weights, train.counts())
        start = logistic_regression(self._by_index(weights))
        folds = recipe.folds if recipe.views else 0
        heads = self._begin(
            train, eval_dataset, start, progress, folds=folds, seed=seed, groups=groups, weights=weights
        )
        images = Minibatches(train, self.labels, self.pixels, progress)
        watched = Minibatches(eval_dataset, self.labels, self.pixels, progress) if eval_dataset else None
        events = self._events(tensorboard)
        factors = None if weights is None else torch.tensor([weights[label] for label in self.labels])
        identity = self._identity(recipe, seed, weights)
        how = Fitting(
            recipe=recipe,
            seed=seed,
            class_weights=None if factors is None else factors.to(self._accelerator.device),
            asked_to_stop=asked_to_stop,
            kept=None if checkpoint is None else Checkpoint(Path(checkpoint), identity, train.digests()),
            compiled=self._compiled,
        )
        features = self.start_features = self._features(train, progress) if recipe.head_first else None
        with events:
            if heads is not None and features is not None:
                epochs = self._fit_last_blocks(images, features, start, heads, how, watched, progress)
                events.check(epochs)
                events.write(epochs)
            else:
                if features is not None:
                    put_layer(self.net.net.head, fit_linear(start, features, images.targets, len(self.labels)))
                before = copy.deepcopy(self.net.state_dict()) if features is not None else None
                epochs = self._fit_all_layers(images, how, watched, events, progress)
                if features is not None and before is not None:
                    self._keep_better(before, features, train, progress)
            if tensorboard is not None and eval_dataset and watched:
                events.evaluate(self._evaluate(watched), eval_dataset, watched, len(epochs))
        self._fitted = self._fit_familiarity(train, seed, progress)
        self.head, self.history = "softmax", History(epochs)
        return self.history

    def fit_head(
        self,
        train: Dataset,
        eval_dataset: Dataset | None = None,
        estimator: Estimator | None = None,
        *,
        kind: Kind = "svm",
        c: float = DEFAULT_C,
        class_weights: ClassWeights = "auto",
        seed: int = 0,
        groups: Grouping | None = None,
        tensorboard: Path | str | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Fit the last layer alone, on the features of the net as it is: of a `kind`, with `c` (of the support vector
        machine) and `class_weights`, or any linear `estimator` of scikit-learn's form, which brings its own.

        Each photo is judged by a layer that did not learn it (`cross_validated`), as in `fit`; of more than MOST_PHOTOS
        with an `eval_dataset`, that is asked instead.

        Raises DatasetError when an image cannot be read and SettingError when the estimator has no coefficients.
        """
        check_trainable(train, self.labels, eval_dataset)
        progress = progress or Silent()
        events = self._events(tensorboard)
        weights = None if estimator else label_weights(class_weights, train.counts())
        estimator = estimator or make_head(kind, self._by_index(weights), list(train.counts().values()), c=c)
        # Of many photos those that are watched are enough, and fifteen fits more would take long.
        folds = 0 if eval_dataset is not None and len(train) > MOST_PHOTOS else FOLDS
        heads = self._begin(
            train, eval_dataset, estimator, progress, folds=folds, seed=seed, groups=groups, weights=weights
        )
        events.check(())
        targets = torch.from_numpy(train.targets(self.labels))
        self.start_features = self._features(train, progress)
        layer = fit_linear(estimator, self.start_features, targets, len(self.labels))
        put_layer(self.net.net.head, layer)
        self._judged = heads
        photos, groups_of = judged_photos(train)
        self._fitted = fit_familiarity(self.start_features[_rows(train, photos)], groups_of, seed)
        if tensorboard is not None and eval_dataset:
            watched = Minibatches(eval_dataset, self.labels, self.pixels, progress)
            with events:
                events.evaluate(self._evaluate(watched), eval_dataset, watched, 0)
        self.head = "softmax" if isinstance(estimator, LogisticRegression | Discriminant) else "svm"
        self.history = History(())

    @property
    def weighted(self) -> bool:
        """Whether photos of some labels counted for more than others in the fit."""
        return self._trained_on is not None and self._trained_on.class_weights is not None

    @property
    def cross_validated(self) -> Evaluation | None:
        """The training images, each as a net or a layer answered that had not learnt it; None where there was none.

        Images that no fold could judge are left out. What was chosen was chosen without the fold that is judged.
        """
        if self._judged is None or self._learnt is None or not self._judged.figure.judged.any():
            return None
        found = self._judged.figure
        images = tuple(itertools.compress(self._learnt.images, found.judged))
        folds = int(found.folds.max()) + 1
        return Evaluation(self.labels, found.logits[found.judged], found.truths[found.judged], images, folds=folds)

    def evaluate(self, dataset: Dataset) -> Evaluation:
        """See `training.evaluation.evaluate.evaluate`."""
        return evaluate(self, dataset)

    def score(self, dataset: Dataset, progress: Progress | None = None) -> NDArray[np.float32]:
        """Logits [images, classes]. Raises DatasetError for an image that cannot be read or has another label."""
        images = Minibatches(dataset, self.labels, self.pixels, progress)
        return self._score(images, progress or Silent())

    @property
    def outputs(self) -> tuple[OutputName, ...]:
        """What `answers` gives: familiarity after a fit only."""
        return ("logits", "features", "familiarity") if self._fitted else ("logits", "features")

    def answers(self, dataset: Dataset, names: Sequence[OutputName], progress: Progress) -> Answers:
        """These outputs by name: logits [images, classes], features [images, width], familiarity [images].

        Raises as `score` does.
        """
        net = self.net.eval()
        plane = self._fitted and self._fitted.plane.to(self._accelerator.device)

        def side_by_side(pixels: Tensor) -> Tensor:
            features = net.features(pixels)
            found = {"logits": net.net.head(features), "features": features}
            if plane:
                found["familiarity"] = plane(features.float())[:, None]
            return torch.cat([found[name].float() for name in names], dim=1)

        widths = {"logits": len(self.labels), "features": net.net.head.in_features, "familiarity": 1}
        images = Minibatches(dataset, self.labels, self.pixels, progress)
        whole = infer(side_by_side, images, self._accelerator, progress)
        parts = torch.split(whole, [widths[name] for name in names], dim=1)
        found = {name: part.contiguous().numpy() for name, part in zip(names, parts, strict=True)}
        return found | ({"familiarity": found["familiarity"][:, 0]} if "familiarity" in found else {})

    def export(
        self,
        path: Path | str,
        validation: Dataset | None = None,
        *,
        metrics: Mapping[str, float] | None = None,
        thresholds: Mapping[str, float] | None = None,
        reported: Evaluation | None = None,
        outputs: Sequence[OutputName] = OUTPUT_NAMES,
        max_false_alarms: float = 0.05,
        reference: Dataset | None = None,
        fingerprints: Fingerprints | None = None,
    ) -> Manifest:
        """Write the model file, once the gate has found that it answers `validation` as this net does.

        `validation` is the data set that `fit` watched when it is None, and without one some of the images that it
        learnt from: the gate asks whether the file answers as the net does, not how well. The temperature comes from
        the folds where there are some, else from `validation`. `metrics` are further figures for the provenance,
        `thresholds` probabilities below which a label is not given, and `reported`
        is this net's evaluation of those images where there is one already: of several processes, of which one exports,
        all have evaluated.

        `outputs` are what the file answers, of those that the net can give: heat needs a net that ends in mean pooling
        and one linear layer, familiarity a fit on at least four photos. Of photos like the training photos at most
        `max_false_alarms`, a share, are to be called foreign.

        `reference` are images that the fit did not see, `validation` when it is None: the file keeps histograms of
        them, with which `salver drift` compares those of the service. A dozen images show next to no drift, so that
        `salver train` gives all that the fit did not see; nothing is chosen by them.

        Raises SettingError before a fit, without images, or for a threshold, output or share that cannot be meant, and
        ExportRefused when the file differs.
        """
        check_thresholds(thresholds or {}, self.labels)
        outputs = check_outputs(outputs)
        FALSE_ALARMS.check(max_false_alarms)
        watched = validation or self._validation
        compared = watched or (self._learnt and self._learnt.some(GATE_PHOTOS))
        if self._trained_on is None or compared is None:
            raise SettingError("Call fit first, and give it or export the validation images for the gate.")
        reported = reported or self.evaluate(compared)
        manifest = export(
            self.output_net(outputs),
            self.pixels,
            Path(path),
            self._trained_on,
            validation=compared,
            reported=reported,
            reference=reference or watched,
            metrics=self._figures(reported if watched else None) | dict(metrics or {}),
            head=self.head,
            temperature=self.temperature(reported if watched else None).value,
            thresholds=dict(thresholds) if thresholds else None,
            familiarity=self._fitted and self._fitted.judged(max_false_alarms),
            fingerprints=fingerprints,
        )
        self.exported = ModelFile.read(Path(path))
        return manifest

    def output_net(self, outputs: Sequence[OutputName] = OUTPUT_NAMES) -> OutputNet:
        """The net on the CPU with all that its file answers: logits, and those of `outputs` that it can give."""
        plane = copy.deepcopy(self._fitted.plane).cpu() if self._fitted else None
        return OutputNet(on_cpu(self.net), plane, ("logits", *outputs)).eval()

    @property
    def is_main_process(self) -> bool:
        """Of several processes that train together one writes files and speaks."""
        return bool(self._accelerator.is_main_process)

    def part(self) -> None:
        """Leave the other processes, which all do so at once: what follows, one does alone.

        Python can abort when it ends with their connections open, and a launcher then ends the process that exports.
        """
        self._accelerator.end_training()

    def save(self, path: Path | str) -> None:
        """Keep it in one safetensors file with its labels and pixels, for `load`. Raises OSError."""
        net = self.net.net
        write_saved(
            Path(path),
            self.net,
            self._fitted,
            self._judged,
            Saved(net.base, net.weights, self.labels, self.pixels, self.head, self._trained_on, self.history),
        )

    @classmethod
    def load(cls, path: Path | str, device: Device = "auto") -> Self:
        """What `save` kept, to evaluate, export or train on. Raises SettingError when the file is not that."""
        saved, state, fitted, judged = read_saved(Path(path))
        size = saved.pixels.height, saved.pixels.width
        loaded = cls(saved.base, saved.labels, size, "none", resize=saved.pixels.resize, device=device)
        try:
            loaded.net.load_state_dict(state)
        except RuntimeError as error:
            fault = f"{path} is damaged: its tensors are not those of a {saved.base}. Save it anew."
            raise SettingError(fault) from error
        loaded.net.net.weights, loaded.pixels, loaded.head = saved.weights, saved.pixels, saved.head
        loaded._trained_on, loaded.history = saved.trained_on, saved.history
        loaded._fitted, loaded._judged = fitted, judged
        return loaded

    def temperature(self, validation: Evaluation | None = None) -> Temperature:
        """By the folds where there are some, else by `validation`."""
        if self._judged is not None and self._judged.answers.judged.any():
            return temperature_of(self._judged.answers.logits, self._judged.answers.truths)
        if validation is not None:
            return temperature_of(validation.logits, validation.truths)
        return Temperature(1.0, "the temperature stays 1, so scores are not calibrated: no photo was judged")

    def _figures(self, validation: Evaluation | None) -> dict[str, float]:
        """For the provenance."""
        named = {"cross_validated": self.cross_validated, "validation": validation}
        return {
            f"{name}_{figure}": value
            for name, found in named.items()
            if found is not None
            for figure, value in (
                ("accuracy", found.accuracy),
                ("class_averaged_accuracy", found.class_averaged_accuracy),
            )
        }

    def _begin(
        self,
        train: Dataset,
        eval_dataset: Dataset | None,
        estimator: Estimator,
        progress: Progress,
        *,
        folds: int,
        seed: int,
        groups: Grouping | None,
        weights: dict[str, float] | None,
    ) -> Judged | None:
        """Choose the resize, and judge a last layer of that kind by `folds`, where there are some."""
        SEED.check(seed)
        check_shared_memory(self._accelerator)
        if self._accelerator.device.type == "cpu":
            keep_large_blocks()
        judged = None
        if folds or self._chooses_resize:
            size = self.pixels.height, self.pixels.width
            ways = [pixel_spec(size, "crop"), pixel_spec(size, "stretch")]
            specs = ways if self._chooses_resize else [self.pixels]
            photos = train if folds else train.some(MOST_PHOTOS)
            numbers = photos.folds(folds or FOLDS, seed=seed, groups=groups)
            number, judged = judge(
                self.net, photos, specs, estimator, numbers, self._accelerator, cache=self._cache, progress=progress
            )
            self.pixels = specs[number]
            if not judged.answers.judged.any():
                progress.report(
                    "no photo can be judged by the others, as each label has one alone or all of its photos are alike: "
                    f"nothing is chosen, and photos are fitted by {self.pixels.resize}"
                )
        self._trained_on = TrainedOn(train.fingerprint(), train.counts(), seed, weights)
        self._learnt, self._validation, self.exported, self._judged = train, eval_dataset, None, None
        return judged if folds else None

    def _features(self, photos: Dataset, progress: Progress) -> Tensor:
        """[images, width], of the net as it was loaded."""
        return extract(self.net, photos, self.pixels, self._accelerator, cache=self._cache, progress=progress)

    def _fit_last_blocks(
        self,
        images: Minibatches,
        features: Tensor,
        start: Estimator,
        heads: Judged,
        how: Fitting,
        watched: Minibatches | None,
        progress: Progress,
    ) -> tuple[Epoch, ...]:
        """The last blocks by folds, unless the folds say that the last layer alone does better."""
        recipe, classes = how.recipe, len(self.labels)

        def first_layer(learnt: NDArray[np.bool_]) -> Linear:
            chosen = torch.from_numpy(learnt)
            return fit_linear(start, features[chosen], images.targets[chosen], classes)

        views = views_that_fit(self.net, self.pixels, len(images), recipe.views)
        if views < LEAST_VIEWS:
            raise SettingError(
                f"The maps of {LEAST_VIEWS} views of {len(images)} photos take more than {MAPS_BYTES / 2**30:.0f} GiB: "
                "train all layers, with --recipe all-layers, or at a smaller --image-size."
            )
        keep = functools.partial(keep_maps, self.net, accelerator=self._accelerator, progress=progress)
        maps = keep(images, views, recipe.augmentation, seed=how.seed)
        seen = None if watched is None else keep(watched, 1, recipe.augmentation, seed=how.seed)
        before = copy.deepcopy(self.net.net.state_dict())
        answers, epochs = fit_last_blocks(
            self.net, maps, heads.answers.folds, first_layer, how, self._accelerator, watched=seen, progress=progress
        )
        if not answers.judged.any():
            return epochs
        better, self._judged = heads.beside(answers).against(heads)
        if not better:
            self.net.net.load_state_dict(before)
            put_layer(self.net.net.head, first_layer(np.ones(len(images), bool)))
            progress.report(
                f"fine-tuned, {answers.accuracy:.3f} are right out of fold, and {heads.answers.accuracy:.3f} with the "
                "last layer alone, whose scores fit better: the other layers stay as they were"
            )
        return epochs

    def _keep_better(self, before: Mapping[str, Tensor], features: Tensor, train: Dataset, progress: Progress) -> None:
        """Undo a fit of all layers after which the net knows its own training photos less well than it did before."""
        some = train.some(MOST_PHOTOS)
        truths = some.targets(self.labels)
        after = float((self.score(some).argmax(axis=1) == truths).mean())
        weight, bias = (before[f"net.head.{name}"].cpu() for name in ("weight", "bias"))
        logits = features[_rows(train, some)] @ weight.T + bias
        first = float((logits.argmax(1).numpy() == truths).mean())
        if after < first:
            self.net.load_state_dict(before)
            progress.report(
                f"after fine-tuning {after:.3f} of the training photos are right, and {first:.3f} were before, with "
                "the last layer alone: that is kept. Train with a lower learning rate or other class weights."
            )

    def _fit_all_layers(
        self, images: Minibatches, how: Fitting, watched: Minibatches | None, events: TensorBoard, progress: Progress
    ) -> tuple[Epoch, ...]:
        fit = FitState(self.net, how.recipe, how.seed, how.class_weights, how.asked_to_stop)
        if how.kept is not None and how.kept.load(fit):
            progress.report(f"going on after epoch {fit.progressed.epoch}, step {fit.progressed.step} of the next one")
        events.check(fit.progressed.epochs)
        try:
            train_epochs(
                fit,
                images,
                self._accelerator,
                compiled=how.compiled,
                accuracy=(lambda: self._evaluate(watched).accuracy) if watched else None,
                kept=how.kept,
                told=events.write,
                progress=progress,
            )
        finally:
            assert isinstance(fit.net, PixelNet)
            self.net = fit.net
        return tuple(fit.progressed.epochs)

    def _fit_familiarity(self, train: Dataset, seed: int, progress: Progress) -> Fitted | None:
        """By the features of the net as it is now."""
        photos, folds = judged_photos(train)
        images = Minibatches(photos, self.labels, self.pixels, decode_now=False)
        progress.begin("familiarity", len(photos))
        features = infer(self.net.eval().features, images, self._accelerator, progress)
        return fit_familiarity(features, folds, seed)

    def _events(self, folder: Path | str | None) -> TensorBoard:
        return TensorBoard(None if folder is None or not self.is_main_process else Path(folder))

    def _evaluate(self, images: Minibatches) -> Evaluation:
        return Evaluation(self.labels, self._score(images, Silent()), images.targets.numpy())

    def _score(self, images: Minibatches, progress: Progress) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = infer(self.net.eval(), images, self._accelerator, progress).numpy()
        return logits

    def _identity(self, recipe: Recipe, seed: int, weights: Mapping[str, float] | None) -> dict[str, str]:
        assert self._trained_on is not None
        net = self.net.net
        return {
            "net": f"{net.base}, {net.weights}",
            "labels": repr(self.labels),
            "pixels": self.pixels.model_dump_json(),
            "recipe": repr(asdict(recipe)),
            "seed": str(seed),
            "class weights": repr(weights),
            "photos": self._trained_on.data_fingerprint,
        }

    def _by_index(self, weights: Mapping[str, float] | None) -> dict[int, float] | None:
        return None if weights is None else {index: weights[label] for index, label in enumerate(self.labels)}


def _rows(whole: Dataset, some: Dataset) -> list[int]:
    """Where the images of `some` stand in `whole`, which has them all."""
    places = {image: place for place, image in enumerate(whole.images)}
    return [places[image] for image in some.images]

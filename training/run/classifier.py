"""A net, its labels and its pixels: fine-tune it or fit its last layer, evaluate it, export it, keep it."""

import copy
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
from training.errors import SettingError
from training.evaluation.evaluate import Evaluation, evaluate
from training.evaluation.model_file import Answers, ModelFile
from training.evaluation.reliability import fit_temperature
from training.evaluation.thresholds import check_thresholds
from training.export.export import export
from training.export.outputs import OutputNet
from training.fit.checkpoint import Checkpoint, Saved, read_saved, write_saved
from training.fit.device import Device, MixedPrecision, check_shared_memory, keep_large_blocks, make_accelerator
from training.fit.epochs import train_epochs
from training.fit.familiarity import Fitted, fit_familiarity, judged_photos
from training.fit.features import choose_resize, extract
from training.fit.history import History
from training.fit.loop import infer
from training.fit.minibatches import Minibatches
from training.fit.recipe import ClassWeights, Recipe, default_recipe, label_weights, with_changes
from training.fit.schedule import Schedule
from training.fit.state import FitState, TrainedOn
from training.nets.linear import DEFAULT_C, Estimator, fit_linear, logistic_regression, svm
from training.nets.nets import PixelNet, Resize, build_net, on_cpu, pixel_spec
from training.progress import Progress, Silent
from training.ranges import FALSE_ALARMS, SEED, check_outputs
from training.report.tensorboard import TensorBoard

Head = Literal["softmax", "svm"]


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
        self._validation: Dataset | None = None
        self._fitted: Fitted | None = None

    def fit(
        self,
        train: Dataset,
        eval_dataset: Dataset | None = None,
        schedule: Schedule | Sequence[float] | None = None,
        batch_size: int | None = None,
        *,
        recipe: Recipe | None = None,
        class_weights: ClassWeights = "none",
        seed: int = 0,
        checkpoint: Path | str | None = None,
        tensorboard: Path | str | None = None,
        asked_to_stop: Callable[[], bool] = lambda: False,
        progress: Progress | None = None,
    ) -> History:
        """Fine-tune all layers by `recipe`, in which `schedule` (a rate for each epoch) and `batch_size` go first.

        The default recipe depends on whether the weights are pretrained; docs/training.md has what it was measured
        to give. The same seed on the same machine gives the same weights. With `checkpoint`, a file, everything is
        kept there after each epoch and when `asked_to_stop`, and a fit that finds it goes on from there. `tensorboard`
        is a folder for `training.report.tensorboard.TensorBoard`.

        Raises DatasetError before the first epoch when an image cannot be read, a label has no training images or a
        data set none at all, SettingError for settings that cannot work, Interrupted when it was asked to stop.
        """
        recipe = with_changes(recipe or default_recipe(self.net.net.weights), schedule, batch_size)
        progress = progress or Silent()
        self._begin(train, eval_dataset, seed, progress)
        images = Minibatches(train, self.labels, self.pixels, progress)
        watched = Minibatches(eval_dataset, self.labels, self.pixels, progress) if eval_dataset else None
        events = self._events(tensorboard)
        weights = label_weights(class_weights, train.counts())
        if recipe.head_first:
            self._fit_last_layer(logistic_regression(self._by_index(weights)), train, progress)
        factors = None if weights is None else torch.tensor([weights[label] for label in self.labels])
        fit = FitState(self.net, recipe, seed, factors if factors is None else factors.to(self._accelerator.device))
        fit.asked_to_stop = asked_to_stop
        identity = self._identity(recipe, seed, weights)
        kept = None if checkpoint is None else Checkpoint(Path(checkpoint), identity, train.digests())
        if kept is not None and kept.load(fit):
            progress.report(f"going on after epoch {fit.progressed.epoch}, step {fit.progressed.step} of the next one")
        events.check(fit.progressed.epochs)
        with events:
            try:
                train_epochs(
                    fit,
                    images,
                    self._accelerator,
                    compiled=self._compiled,
                    accuracy=(lambda: self._evaluate(watched).accuracy) if watched else None,
                    kept=kept,
                    told=events.write,
                    progress=progress,
                )
            finally:
                self.net = fit.net
            if tensorboard is not None and eval_dataset and watched:
                events.evaluate(self._evaluate(watched), eval_dataset, watched, fit.progressed.epoch)
        self._fitted = self._fit_familiarity(train, seed, progress)
        self.head, self.history = "softmax", History(tuple(fit.progressed.epochs))
        return self.history

    def fit_head(
        self,
        train: Dataset,
        eval_dataset: Dataset | None = None,
        estimator: Estimator | None = None,
        *,
        c: float = DEFAULT_C,
        class_weights: ClassWeights = "none",
        seed: int = 0,
        tensorboard: Path | str | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Fit the last layer alone, on the features of the net as it is: a linear support vector machine with `c` and
        `class_weights`, or any linear `estimator` of scikit-learn's form, which brings its own.

        Raises DatasetError when an image cannot be read and SettingError when the estimator has no coefficients.
        """
        progress = progress or Silent()
        self._begin(train, eval_dataset, seed, progress)
        events = self._events(tensorboard)
        events.check(())
        estimator = estimator or svm(c, self._by_index(label_weights(class_weights, train.counts())))
        self._fit_last_layer(estimator, train, progress)
        self._fitted = self._fit_familiarity(train, seed, progress)
        if tensorboard is not None and eval_dataset:
            watched = Minibatches(eval_dataset, self.labels, self.pixels, progress)
            with events:
                events.evaluate(self._evaluate(watched), eval_dataset, watched, 0)
        self.head = "softmax" if isinstance(estimator, LogisticRegression) else "svm"
        self.history = History(())

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

        `validation` is the data set that `fit` watched when it is None; the temperature is fitted on it. `metrics` are
        further figures for the provenance, `thresholds` probabilities below which a label is not given, and `reported`
        is this net's evaluation of `validation` where there is one already: of several processes, of which one exports,
        all have evaluated.

        `outputs` are what the file answers, of those that the net can give: heat needs a net that ends in mean pooling
        and one linear layer, familiarity a fit on at least four photos. Of photos like the training photos at most
        `max_false_alarms`, a share, are to be called foreign.

        `reference` are images that the fit did not see, `validation` when it is None: the file keeps histograms of
        them, with which `salver drift` compares those of the service. A dozen images show next to no drift, so that
        `salver train` gives validation and test together; nothing is chosen by them.

        Raises SettingError before a fit, without images, or for a threshold, output or share that cannot be meant, and
        ExportRefused when the file differs.
        """
        check_thresholds(thresholds or {}, self.labels)
        outputs = check_outputs(outputs)
        FALSE_ALARMS.check(max_false_alarms)
        validation = validation or self._validation
        if self._trained_on is None or validation is None:
            raise SettingError("Call fit first, and give it or export the validation images for the gate.")
        reported = reported or self.evaluate(validation)
        figures = {
            "validation_accuracy": reported.accuracy,
            "validation_class_averaged_accuracy": reported.class_averaged_accuracy,
        }
        manifest = export(
            self.output_net(outputs),
            self.pixels,
            Path(path),
            self._trained_on,
            validation=validation,
            reported=reported,
            reference=reference or validation,
            metrics=figures | dict(metrics or {}),
            head=self.head,
            temperature=fit_temperature(reported.logits, reported.truths),
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
            Saved(net.base, net.weights, self.labels, self.pixels, self.head, self._trained_on, self.history),
        )

    @classmethod
    def load(cls, path: Path | str, device: Device = "auto") -> Self:
        """What `save` kept, to evaluate, export or train on. Raises SettingError when the file is not that."""
        saved, state, fitted = read_saved(Path(path))
        size = saved.pixels.height, saved.pixels.width
        loaded = cls(saved.base, saved.labels, size, "none", resize=saved.pixels.resize, device=device)
        try:
            loaded.net.load_state_dict(state)
        except RuntimeError as error:
            fault = f"{path} is damaged: its tensors are not those of a {saved.base}. Save it anew."
            raise SettingError(fault) from error
        loaded.net.net.weights, loaded.pixels, loaded.head = saved.weights, saved.pixels, saved.head
        loaded._trained_on, loaded.history, loaded._fitted = saved.trained_on, saved.history, fitted
        return loaded

    def _begin(self, train: Dataset, eval_dataset: Dataset | None, seed: int, progress: Progress) -> None:
        SEED.check(seed)
        check_trainable(train, self.labels, eval_dataset)
        check_shared_memory(self._accelerator)
        if self._accelerator.device.type == "cpu":
            keep_large_blocks()
        if self._chooses_resize:
            size = self.pixels.height, self.pixels.width
            specs = [pixel_spec(size, "crop"), pixel_spec(size, "stretch")]
            self.pixels = choose_resize(
                self.net, train, specs, self._accelerator, cache=self._cache, progress=progress, seed=seed
            )
        self._trained_on = TrainedOn(train.fingerprint(), train.counts(), seed)
        self._validation, self.exported = eval_dataset, None

    def _fit_last_layer(self, estimator: Estimator, train: Dataset, progress: Progress) -> None:
        features = extract(self.net, train, self.pixels, self._accelerator, cache=self._cache, progress=progress)
        layer = fit_linear(estimator, features, torch.from_numpy(train.targets(self.labels)), len(self.labels))
        with torch.no_grad():
            self.net.net.head.weight.copy_(layer.weight)
            self.net.net.head.bias.copy_(layer.bias)

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

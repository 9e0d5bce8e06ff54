"""TensorBoard's files of a fit: figures of each epoch, and at the end what the validation images show.

TensorBoard and matplotlib are imported by the first `TensorBoard` that has a folder, and not before.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from training.dataset.dataset import Dataset
from training.errors import SettingError
from training.evaluation.evaluate import Evaluation
from training.evaluation.plots import confusion_figure, shortened
from training.evaluation.predictions import NO_ANSWER
from training.fit.history import Epoch
from training.fit.minibatches import Minibatches

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch.utils.tensorboard import SummaryWriter

LOSS, CONFUSION, CURVES, WORST = "loss/train", "confusion matrix", "precision and recall", "worst images"
EVENT_FILES = "events.out.tfevents.*"
WORST_SHOWN = 16
TITLE_LENGTH = 22
"""Characters of a label or a name above a small picture."""


class TensorBoard:
    """Writes to `folder`, and for None does nothing. Files are open inside its `with` block.

    An epoch that the folder holds already is not written again, so that a fit goes on in the folder that it began with.
    Raises SettingError when the folder cannot be written.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._writer: SummaryWriter | None = None
        self._epochs, self._evaluated = 0, False
        if folder is not None:
            _check_writable(folder)
            self._epochs, self._evaluated = _held(folder)

    def __enter__(self) -> Self:
        if self._folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def check(self, epochs: Sequence[Epoch]) -> None:
        """Raises SettingError when the folder is not that of a fit which has done these `epochs`."""
        if self._epochs > len(epochs) or (self._evaluated and not epochs):
            raise SettingError(
                f"The TensorBoard folder {self._folder} already holds the figures of another fit. Name another folder, "
                "or remove it."
            )

    def write(self, epochs: Sequence[Epoch]) -> None:
        """Those of a fit's `epochs` that the folder does not hold yet. Raises OSError."""
        if self._writer is None:
            return
        for epoch in epochs[self._epochs :]:
            figures = {
                LOSS: epoch.loss,
                "accuracy/train": epoch.train_accuracy,
                "accuracy/validation": epoch.eval_accuracy,
                "learning rate": epoch.learning_rate,
                "images per second": epoch.images_per_second,
            }
            for name, figure in figures.items():
                if figure is not None:
                    self._writer.add_scalar(name, figure, epoch.epoch)
        self._epochs = len(epochs)
        self._writer.flush()

    def evaluate(self, evaluation: Evaluation, dataset: Dataset, images: Minibatches, step: int) -> None:
        """The confusion matrix, a curve of precision and recall for each label, and the worst images. Raises OSError.

        `images` are the pixels of `dataset`, which `evaluation` is of.
        """
        if self._writer is None or self._evaluated:
            return
        self._writer.add_figure(CONFUSION, confusion_figure(evaluation, f"{len(dataset)} validation images"), step)
        for index, label in enumerate(evaluation.labels):
            if label not in evaluation.absent_labels:
                truths = evaluation.truths == index
                self._writer.add_pr_curve(f"{CURVES}/{label}", truths, evaluation.probabilities[:, index], step)
        self._writer.add_figure(WORST, worst_figure(evaluation, dataset, images), step)
        self._writer.flush()


def worst_figure(evaluation: Evaluation, dataset: Dataset, images: Minibatches) -> "Figure":
    """The images with the highest loss, as the net saw them, with truth, prediction and its probability."""
    from matplotlib.figure import Figure

    worst = np.argsort(-evaluation.losses, kind="stable")[:WORST_SHOWN].tolist()
    columns = min(4, len(worst))
    rows = -(-len(worst) // columns)
    figure = Figure((3 * columns, 3.6 * rows + 0.4), layout="constrained")
    figure.suptitle("highest loss first: truth → prediction, probability")
    for place, (index, pixels) in enumerate(zip(worst, images.read(worst).pixels, strict=True), 1):
        truth, predicted = evaluation.truths[index], evaluation.predictions[index]
        answer = "no answer"
        if predicted != NO_ANSWER:
            answer = f"{shortened(evaluation.labels[predicted], TITLE_LENGTH)}, {evaluation.scores[index]:.2f}"
        axes = figure.add_subplot(rows, columns, place)
        axes.imshow(pixels.numpy())
        axes.set_axis_off()
        axes.set_title(
            f"{shortened(evaluation.labels[truth], TITLE_LENGTH)} → {answer}\nloss {evaluation.losses[index]:.2f}\n"
            f"{shortened(dataset.images[index].path.name, TITLE_LENGTH)}",
            fontsize="small",
            color="black" if truth == predicted else "#b34700",
            parse_math=False,
        )
    return figure


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SettingError(
            f"TensorBoard's files cannot be written to {folder}: {error.strerror}. Name another folder."
        ) from error


def _held(folder: Path) -> tuple[int, bool]:
    """The last epoch whose figures are in the folder, 0 without one, and whether the evaluation's are there too."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 1, "images": 1, "tensors": 1})
    events.Reload()
    tags = events.Tags()
    last = max((event.step for event in events.Scalars(LOSS)), default=0) if LOSS in tags["scalars"] else 0
    return last, WORST in tags["images"]

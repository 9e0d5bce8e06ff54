"""The files of a run folder, each whole or not there."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path

from salver.system.durable import durable
from training.dataset.dataset import Dataset
from training.dataset.reading.table import cells
from training.evaluation.evaluate import Evaluation
from training.fit.checkpoint import write_tensors
from training.nets.nets import LAST_LAYERS, PixelNet, on_cpu


def write_checkpoint(path: Path, net: PixelNet) -> None:
    """The weights under torchvision's names for the whole net, so that `--weights FILE` reads them."""
    trained, last = on_cpu(net).net, LAST_LAYERS[net.net.base]
    head = {f"{last}.{name}": tensor for name, tensor in trained.head.state_dict().items()}
    write_tensors(path, trained.backbone.state_dict() | head, {"base": trained.base})


def write_scores(path: Path, dataset: Dataset, evaluation: Evaluation) -> None:
    """One row an image: path, truth, predicted label (empty without an answer), then the logit of each label."""
    names = (*evaluation.labels, "")  # the last one for NO_ANSWER
    # surrogateescape: a file name that is not UTF-8 goes out as the bytes that it is.
    with durable(path) as partial, partial.open("w", -1, "utf-8", "surrogateescape", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(cells(["path", "truth", "predicted", *evaluation.labels]))
        for image, predicted, logits in zip(dataset.images, evaluation.predictions, evaluation.logits, strict=True):
            row = [format(logit, ".9g") for logit in logits.tolist()]  # 9 digits give float32 back exactly
            writer.writerow([*cells([str(image.path), image.label, names[predicted]]), *row])


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Strict JSON: a number that is not finite is an error, not NaN."""
    with durable(path) as partial:
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False, default=str)
        partial.write_text(text + "\n", encoding="utf-8")

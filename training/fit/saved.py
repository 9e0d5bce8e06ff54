"""A classifier as one file for `Classifier.load`: safetensors, with what is not a tensor as JSON in its header."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from salver.artifact.manifest import PixelSpec
from training.errors import SettingError
from training.export.export import TrainedOn, on_cpu
from training.fit.history import History
from training.fit.tensor_file import read_tensors, write_tensors
from training.nets.nets import PixelNet

HEADER = "classifier"


@dataclass(frozen=True)
class Saved:
    """A classifier without its tensors."""

    base: str
    weights: str
    labels: tuple[str, ...]
    pixels: PixelSpec
    head: Literal["softmax", "svm"]
    trained_on: TrainedOn | None
    history: History


_saved = TypeAdapter(Saved)


def write_saved(path: Path, net: PixelNet, saved: Saved) -> None:
    """Raises OSError, and then what stood under `path` before is still there."""
    write_tensors(path, on_cpu(net).state_dict(), {HEADER: _saved.dump_json(saved).decode()})


def read_saved(path: Path) -> tuple[Saved, dict[str, Tensor]]:
    """The classifier and its net's state. Raises SettingError when the file is not one of `Classifier.save`."""
    try:
        tensors, texts = read_tensors(path)
        return _saved.validate_json(texts[HEADER]), tensors
    except (OSError, SafetensorError, KeyError, ValidationError) as error:
        raise SettingError(
            f"{path} cannot be loaded as a classifier ({type(error).__name__}): give a file that Classifier.save wrote."
        ) from error

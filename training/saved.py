"""A classifier as one file for `Classifier.load`: safetensors, with what is not a tensor as JSON in its header."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from artifact.manifest import PixelSpec
from training.durable import durable
from training.errors import SettingError
from training.export import TrainedOn, on_cpu
from training.history import History
from training.nets import PixelNet

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
    with durable(path) as partial:
        partial.write_bytes(save(on_cpu(net).state_dict(), metadata={HEADER: _saved.dump_json(saved).decode()}))


def read_saved(path: Path) -> tuple[Saved, dict[str, Tensor]]:
    """The classifier and its net's state. Raises SettingError when the file is not one of `Classifier.save`."""
    try:
        with safe_open(path, "pt") as file:
            header = (file.metadata() or {})[HEADER]
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
        return _saved.validate_json(header), tensors
    except (OSError, SafetensorError, KeyError, ValidationError) as error:
        raise SettingError(
            f"{path} cannot be loaded as a classifier ({type(error).__name__}): give a file that Classifier.save wrote."
        ) from error

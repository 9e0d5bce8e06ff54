"""Tensors and texts in one safetensors file: no pickle, and whole or not there."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from salver.system.durable import durable
from salver.system.regular_file import open_regular


def write_tensors(path: Path, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> None:
    """Raises OSError, and then what stood under `path` before is still there."""
    with durable(path) as partial:
        # Not save_file: a full disk has to be an OSError that names the file.
        partial.write_bytes(save(dict(tensors), metadata=dict(texts)))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the texts. Raises OSError and SafetensorError."""
    with open_regular(path), safe_open(path, "pt") as file:  # safe_open alone would wait for a pipe
        # Copies: what safe_open gives are pages of the file, which keep it on the disk when another takes its place.
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  # not a mapping
        return tensors, file.metadata() or {}

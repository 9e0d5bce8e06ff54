"""A fit, or a classifier, on disk: one safetensors file, whole or not there. No pickle.

A fit's holds everything for going on, a classifier's what `Classifier.load` needs; what is not a tensor is JSON in the
header.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from salver.artifact.manifest import PixelSpec
from salver.system.durable import durable
from salver.system.regular_file import open_regular
from salver.text import counted, printable
from training.errors import SettingError
from training.fit.features.familiarity import Fitted, Plane
from training.fit.heads.choice import Judged
from training.fit.heads.out_of_fold import OutOfFold
from training.fit.history import History
from training.fit.state import FitState, Progressed, TrainedOn
from training.nets.nets import PixelNet, on_cpu

HEADER = "classifier"
SCORES = "scores"
POSITION, IDENTITY, PHOTOS = "position", "identity", "photos"
NET, OPTIMIZER, START, CARRIED = "net.", "optimizer.", "start.", "carried."
FITTED, JUDGED = "familiarity.", "judged."
SHOWN = 3
"""Of the photos that changed in one way."""


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


_position = TypeAdapter(Progressed)
_saved = TypeAdapter(Saved)


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


def write_saved(path: Path, net: PixelNet, fitted: Fitted | None, judged: Judged | None, saved: Saved) -> None:
    """Raises OSError, and then what stood under `path` before is still there."""
    tensors = on_cpu(net).state_dict()
    if fitted:
        known = fitted.plane.state_dict() | {SCORES: torch.from_numpy(fitted.scores)}
        tensors |= {FITTED + name: tensor for name, tensor in known.items()}
    if judged:
        arrays = {"figure": judged.figure.logits} | judged.answers._asdict()
        tensors |= {JUDGED + name: torch.from_numpy(array) for name, array in arrays.items()}
    write_tensors(path, tensors, {HEADER: _saved.dump_json(saved).decode()})


def read_saved(path: Path) -> tuple[Saved, dict[str, Tensor], Fitted | None, Judged | None]:
    """The classifier, its net's state, its familiarity and how it was judged.

    Raises SettingError for a file that `save` did not write.
    """
    try:
        tensors, texts = read_tensors(path)
        known = _part(tensors, FITTED)
        fitted = Fitted(Plane(known["centre"], known["directions"]), known[SCORES].numpy()) if known else None
        arrays = {name: tensor.numpy() for name, tensor in _part(tensors, JUDGED).items()}
        judged = _judged(**arrays) if arrays else None
        net = {name: tensor for name, tensor in tensors.items() if not name.startswith((FITTED, JUDGED))}
        return _saved.validate_json(texts[HEADER]), net, fitted, judged
    except (OSError, SafetensorError, KeyError, ValidationError) as error:
        raise SettingError(
            f"{path} cannot be loaded as a classifier ({type(error).__name__}): give a file that Classifier.save wrote."
        ) from error


def _judged(figure: NDArray[np.float32], **answers: NDArray[Any]) -> Judged:
    found = OutOfFold(**answers)
    return Judged(found, found._replace(logits=figure))


class Checkpoint:
    """At `path`; `identity` says what is trained on what and how, and only a checkpoint of the same is read.

    `photos` has label and digest of each training image by its name, so that those that changed can be named.
    """

    def __init__(self, path: Path, identity: Mapping[str, str], photos: Mapping[str, tuple[str, str]]) -> None:
        self._path = path
        self._identity = dict(identity)
        self._photos = {printable(name): photo for name, photo in photos.items()}  # JSON holds no half characters

    def save(self, fit: FitState) -> None:
        """Write it, in the place of the one before. Raises OSError, and then that one still stands."""
        tensors = {NET + name: tensor for name, tensor in fit.net.state_dict().items()}
        tensors |= {START + name: tensor for name, tensor in fit.start.items()}
        tensors |= {CARRIED + name: tensor for name, tensor in fit.carried.items()}
        for number, state in fit.optimizer.state_dict()["state"].items():
            tensors |= {f"{OPTIMIZER}{number}.{name}": torch.as_tensor(value) for name, value in state.items()}
        tensors[PHOTOS] = _packed(self._photos)
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        texts = {POSITION: json.dumps(asdict(fit.progressed)), IDENTITY: json.dumps(self._identity)}
        write_tensors(self._path, plain, texts)

    def load(self, fit: FitState) -> bool:
        """Put `fit` where the checkpoint is; False when there is none.

        Raises SettingError when it is not one, or one of another fit.
        """
        if not self._path.exists():
            return False
        try:
            tensors, texts = read_tensors(self._path)
            progressed = _position.validate_json(texts[POSITION])
            identity = TypeAdapter(dict[str, str]).validate_json(texts[IDENTITY])
            self._check(identity, _unpacked(tensors.get(PHOTOS)))
            fit.net.load_state_dict(_part(tensors, NET))
            fit.start, fit.carried = _part(tensors, START), _part(tensors, CARRIED)
            fit.optimizer.load_state_dict(_optimizer_state(fit.optimizer, _part(tensors, OPTIMIZER)))
        except (SafetensorError, LookupError, RuntimeError, ValueError, zlib.error) as error:
            raise SettingError(
                f"{self._path} is not a checkpoint of 'salver train' ({type(error).__name__}). Remove it to start anew."
            ) from error
        fit.progressed = progressed
        return True

    def _check(self, identity: Mapping[str, str], photos: Mapping[str, tuple[str, str]] | None) -> None:
        names = [name for name, value in self._identity.items() if identity.get(name) != value]
        if not names:
            return
        *others, last = [f"{'other' if name.endswith('s') else 'another'} {name}" for name in names]
        other = f"{', '.join(others)} and {last}" if others else last
        changes = [] if photos is None else _changes(photos, self._photos)
        lines = "".join(f"\n  {line}" for line in changes)
        raise SettingError(
            f"The checkpoint {self._path} is of a run with {other}. Go on with what it was begun with, or start anew "
            f"without --resume.{lines}"
        )


def _packed(photos: Mapping[str, tuple[str, str]]) -> Tensor:
    """As bytes: the texts of a safetensors file have a limit that a million photos would pass."""
    data = zlib.compress(json.dumps(photos).encode())
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def _unpacked(packed: Tensor | None) -> dict[str, tuple[str, str]] | None:
    """None for a checkpoint of an earlier version."""
    if packed is None:
        return None
    return TypeAdapter(dict[str, tuple[str, str]]).validate_json(zlib.decompress(packed.numpy().tobytes()))


def _changes(before: Mapping[str, tuple[str, str]], now: Mapping[str, tuple[str, str]]) -> list[str]:
    """A line for each way in which training images changed, with their number and some names."""
    both = sorted(before.keys() & now.keys())
    labels, then = ({label for label, _ in photos.values()} for photos in (now, before))
    ways = {
        "new among the training photos": [f"{name} ({now[name][0]})" for name in sorted(now.keys() - before.keys())],
        "no longer among them": [f"{name} ({before[name][0]})" for name in sorted(before.keys() - now.keys())],
        "with another label": [
            f"{name} ({now[name][0]}, was {before[name][0]})" for name in both if before[name][0] != now[name][0]
        ],
        "with other content": [name for name in both if before[name][1] != now[name][1]],
    }
    new_labels = [f"new labels: {', '.join(sorted(labels - then))}"] if labels - then else []
    gone_labels = [f"labels that are gone: {', '.join(sorted(then - labels))}"] if then - labels else []
    return [*new_labels, *gone_labels] + [
        f"{counted(len(names), 'photo')} {way}: {', '.join(names[:SHOWN])}" + (", …" if len(names) > SHOWN else "")
        for way, names in ways.items()
        if names
    ]


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _optimizer_state(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> dict[str, object]:
    """What `load_state_dict` takes, in the memory order of the parameters."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, key = name.partition(".")
        like = parameters[int(number)]
        ordered = torch.empty_like(like, device="cpu").copy_(tensor) if tensor.shape == like.shape else tensor
        state.setdefault(int(number), {})[key] = ordered
    return {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}

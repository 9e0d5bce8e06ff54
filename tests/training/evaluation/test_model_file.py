"""A model file that somebody gives to evaluate, threshold or export."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from salver.artifact.manifest import METADATA_KEY
from tests.support.models import constant, probe
from tests.support.strangers import READERS_OF_FILES, Edit, strange
from tests.training.support.runs import exported
from training.errors import SettingError
from training.evaluation.model_file import ModelFile
from training.fit.checkpoint import read_tensors

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("edit", READERS_OF_FILES.values(), ids=READERS_OF_FILES)
def test_no_file_beside_a_strangers_model_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit: Edit) -> None:
    monkeypatch.chdir(tmp_path)
    np.arange(4, dtype=np.float32).tofile(tmp_path / "secret")
    path = strange(tmp_path / "model.onnx", edit)
    with pytest.raises(SettingError, match=r"model\.onnx: .* has its numbers outside the file"):
        ModelFile.read(path)


def test_no_file_beside_a_run_is_read_when_it_is_exported(finished_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    strange(run / "model.onnx", READERS_OF_FILES["a branch"])
    with pytest.raises(SettingError, match="has its numbers outside the file"):
        exported(run, "int8", tmp_path / "int8.onnx", 1.0)
    assert not (tmp_path / "int8.onnx").exists()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _sparse(path: Path) -> None:
    os.truncate(path, 30 * 2**30)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_pipe, "a pipe, not a file"),
        (_folder, "a folder, not a file"),
        (_sparse, r"has 32,212,254,720 bytes; the limit is 2,147,483,647"),
        (Path.unlink, "No such file"),
        (lambda path: path.write_bytes(b""), "it is empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "it was cut"),
        (lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1"), "git lfs pull"),
        (lambda path: constant(path, [2, 1], softmax=True), "ends in a softmax"),
        (lambda path: path.write_bytes(path.read_bytes().replace(METADATA_KEY.encode(), b"Salver")), "not exported by"),
    ],
)
def test_what_is_no_model_file_is_refused_at_once_by_what_it_is(tmp_path: Path, change: object, words: str) -> None:
    path = probe(tmp_path / "model.onnx")
    change(path)  # type: ignore[operator]
    with pytest.raises(SettingError, match=words) as caught:
        ModelFile.read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir])
def test_a_pipe_or_folder_in_the_place_of_a_checkpoint_or_classifier_is_not_waited_for(
    tmp_path: Path, make: object
) -> None:
    make(tmp_path / "state.safetensors")  # type: ignore[operator]
    with pytest.raises(OSError, match="not a file"):
        read_tensors(tmp_path / "state.safetensors")


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir])
def test_a_pipe_or_folder_in_the_place_of_a_runs_record_is_not_waited_for(tmp_path: Path, make: object) -> None:
    make(tmp_path / "run.json")  # type: ignore[operator]
    with pytest.raises(SettingError, match=r"not the folder of a finished run: .*not a file"):
        exported(tmp_path, "int8", tmp_path / "int8.onnx", 1.0)


def test_a_file_that_protobuf_refuses_is_left_as_it_is(tmp_path: Path) -> None:
    """The packed dimensions of a function's constant end in the middle of one, and the walk looks at no numbers."""
    path = probe(tmp_path / "model.onnx")
    path.write_bytes(path.read_bytes() + b"\xca\x01\x09\x3a\x07\x2a\x05\x2a\x03\x0a\x01\x80")
    file, before = ModelFile.read(path), path.read_bytes()
    with pytest.raises(SettingError, match="cannot be written anew"):
        file.write(path, file.manifest)
    assert path.read_bytes() == before


def test_a_model_file_is_read_through_the_links_of_a_download_cache(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshots" / "1").mkdir(parents=True)
    blob = probe(tmp_path / "blobs" / "0f3a")
    link = tmp_path / "snapshots" / "1" / "model.onnx"
    link.symlink_to(Path("..", "..", "blobs", "0f3a"))
    assert ModelFile.read(link).sha256 == ModelFile.read(blob).sha256

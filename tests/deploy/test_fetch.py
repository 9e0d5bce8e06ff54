"""The init container's program of components/model-fetch, run as the pod runs it."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.manifests import K8S

CONTENT = b"a model"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def fetch(target: Path, uri: str, sha256: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(K8S / "components" / "model-fetch" / "fetch.py"), str(target)],
        env={"MODEL_URI": uri, "MODEL_SHA256": sha256},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def source(tmp_path: Path) -> str:
    (tmp_path / "there.onnx").write_bytes(CONTENT)
    return f"file://{tmp_path / 'there.onnx'}"


def test_the_model_is_copied_when_its_sha256_is_the_one_given(source: str, tmp_path: Path) -> None:
    assert fetch(tmp_path / "model.onnx", source, SHA256.upper()).returncode == 0
    assert (tmp_path / "model.onnx").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("uri", "sha256", "words"),
    [
        ("{source}", "0" * 64, "it is another file, or was changed"),
        ("{source}.none", SHA256, "cannot be fetched: FileNotFoundError"),
        ("nothing://x", SHA256, "cannot be fetched: ValueError"),
        ("", SHA256, "set both in salver-model"),
        ("{source}", "", "set both in salver-model"),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_nothing(
    source: str, tmp_path: Path, uri: str, sha256: str, words: str
) -> None:
    ended = fetch(tmp_path / "model.onnx", uri.format(source=source), sha256)
    assert ended.returncode == 1
    assert words in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.onnx"]

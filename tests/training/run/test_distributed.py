"""Several processes compute what one does; on this side of a GPU, over gloo on the CPU."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from typer.testing import CliRunner

from salver.cli import build
from tests.training.run.test_run import ROOT
from tests.training.support.photos import photo_folder
from training.errors import SettingError
from training.fit.device import check_shared_memory
from training.nets.nets import build_net

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def words(photos: Path, out: Path, weights: Path, *options: str) -> list[str]:
    line = [str(photos), "--out", str(out), "--weights", str(weights), "--image-size", "64", "--epochs", "2"]
    return [*line, "--device", "cpu", "--seed", "1", "--augment", "trivial", *options]


def train(photos: Path, out: Path, weights: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Two processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    command = [*launcher, "training", *words(photos, out, weights, *options)]
    # One thread each: two processes on two cores would otherwise wait for each other's.
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False
    )


@pytest.mark.parametrize(
    ("recipe", "line", "judged"),
    [("default", "fold 1 of 5", "cross_validated"), ("all-layers", "epoch   1 ", "validation")],
)
def test_two_processes_give_the_metrics_and_weights_of_one_and_one_of_them_writes(
    tmp_path: Path, recipe: str, line: str, judged: str
) -> None:
    photo_folder(tmp_path / "photos", {"cup": 17, "bowl": 16})  # shares of unequal size, in training and in evaluation
    torch.manual_seed(3)
    torch.save(build_net("resnet18", 2, "none").backbone.state_dict(), tmp_path / "weights.pt")
    weights, option = tmp_path / "weights.pt", f"--recipe={recipe}"
    one = CliRunner().invoke(build("train"), ["train", *words(tmp_path / "photos", tmp_path / "out1", weights, option)])
    two = train(tmp_path / "photos", tmp_path / "out2", weights, option)
    assert (one.exit_code, two.returncode) == (0, 0), two.stderr
    assert two.stdout.count(line) == 1
    first, second = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("out1", "out2"))
    for part in (judged, "test"):
        for figure in ("images", "accuracy", "confusion_matrix"):
            assert first[part][figure] == second[part][figure]
    histories = [json.loads((tmp_path / name / "history.json").read_text())["epochs"] for name in ("out1", "out2")]
    for alone, together in zip(*histories, strict=True):
        assert together["loss"] == pytest.approx(alone["loss"], abs=1e-4)
        assert together["train_accuracy"] == alone["train_accuracy"]
    ours, theirs = (load_file(tmp_path / name / "checkpoint" / "weights.safetensors") for name in ("out1", "out2"))
    assert max(float((ours[name].float() - theirs[name].float()).abs().max()) for name in ours) < 1e-4


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_two_processes_that_learn_statistics_export_what_they_evaluated(tmp_path: Path, seed: int) -> None:
    """The gate compares the file with what both of them answered for the validation photos."""
    photo_folder(tmp_path / "photos", {"cup": 8, "bowl": 8})
    options = ["--seed", str(seed), "--base", "mobilenet_v2"]
    result = train(tmp_path / "photos", tmp_path / "out", Path("none"), *options)
    assert result.returncode == 0, result.stderr


@pytest.mark.soak
def test_a_fault_in_the_photos_is_told_once_for_all_processes(tmp_path: Path) -> None:
    photo_folder(tmp_path / "photos", {"cup": 6, "bowl": 6})
    (tmp_path / "photos" / "cup" / "003.jpg").write_bytes(b"no image")
    result = train(tmp_path / "photos", tmp_path / "out", Path("none"))
    assert result.returncode != 0
    assert len(re.findall(r"cannot be read\. Mend or remove", result.stderr)) == 1
    assert not (tmp_path / "out" / "model.onnx").exists()


def test_ds15_a_shared_memory_too_small_for_gpus_is_found_before_the_first_batch_with_the_remedy(
    tmp_path: Path,
) -> None:
    gpus = cast(Accelerator, SimpleNamespace(num_processes=2, device=torch.device("cuda")))
    missing = tmp_path / "shm"
    with pytest.raises(SettingError, match=r"0 MiB free.*--shm-size=1g.*emptyDir"):
        check_shared_memory(gpus, missing)
    check_shared_memory(gpus, tmp_path)  # a disk with room
    check_shared_memory(cast(Accelerator, SimpleNamespace(num_processes=1, device=torch.device("cuda"))), missing)


@pytest.mark.soak
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_ds15_one_process_does_not_need_dev_shm(tmp_path: Path) -> None:
    photo_folder(tmp_path / "photos", {"cup": 8, "bowl": 8})
    trained = f"{sys.executable} -m training {tmp_path}/photos --out {tmp_path}/out --weights none --image-size 64"
    result = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs -o size=4k tmpfs /dev/shm && {trained} --epochs 1"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "model.onnx").exists()

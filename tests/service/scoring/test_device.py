import logging
import os
from pathlib import Path

import pytest

from salver.artifact.errors import ModelFileError
from salver.artifact.manifest import Manifest
from service.scoring.device import CPU, CUDA, CUDA_OPTIONS, TENSORRT, gpu_providers, gpu_session, preload_gpu_libraries
from service.scoring.model import load_model
from tests.support.models import probe

VERSION = "0123456789abcdef" * 4
GPU_WHEEL = (TENSORRT, CUDA, CPU)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return probe(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture(scope="module")
def manifest(file: Path) -> Manifest:
    return load_model(str(file), "cpu", 1).manifest


@pytest.mark.parametrize("available", [GPU_WHEEL, (CUDA, CPU), ("AzureExecutionProvider", CPU)])
@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "tensorrt"])
def test_a_gpu_is_asked_for_only_when_it_is_wanted_and_offered(
    device: str, available: tuple[str, ...], manifest: Manifest, tmp_path: Path
) -> None:
    wanted = {"auto": [CUDA], "cpu": [], "cuda": [CUDA], "tensorrt": [TENSORRT, CUDA]}[device]
    providers = gpu_providers(device, manifest, VERSION, tmp_path, available=available)
    assert [name for name, _ in providers] == (wanted if set(wanted) <= set(available) else [])


def test_cuda_computes_in_full_float32(manifest: Manifest) -> None:
    ((_, options),) = gpu_providers("cuda", manifest, VERSION, None, available=GPU_WHEEL)
    assert options["use_tf32"] == "0"


def test_tensorrt_leaves_what_it_cannot_run_to_cuda_with_the_same_options(manifest: Manifest, tmp_path: Path) -> None:
    _, second = gpu_providers("tensorrt", manifest, VERSION, tmp_path, available=GPU_WHEEL)
    assert second == (CUDA, CUDA_OPTIONS)


def test_engines_are_kept_apart_by_the_models_version(manifest: Manifest, tmp_path: Path) -> None:
    folders = []
    for version in (VERSION, VERSION[::-1]):
        (_, options), _ = gpu_providers("tensorrt", manifest, version, tmp_path / "cache", available=GPU_WHEEL)
        assert options["trt_engine_cache_enable"] == "True"
        folders.append(Path(options["trt_engine_cache_path"]))
    assert all(folder.is_dir() and folder.parent == tmp_path / "cache" for folder in folders)
    assert folders[0].name.startswith(VERSION[:16])
    assert folders[0] != folders[1]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_tensorrt_computes_in_the_files_precision_and_no_lower(
    precision: str, manifest: Manifest, tmp_path: Path
) -> None:
    exported = manifest.model_copy(update={"precision": precision})
    (_, options), _ = gpu_providers("tensorrt", exported, VERSION, tmp_path, available=GPU_WHEEL)
    assert options["trt_fp16_enable"] == str(precision == "fp16")
    assert options["trt_int8_enable"] == str(precision == "int8")


def test_tensorrt_is_told_the_shapes_of_all_batches_beforehand(manifest: Manifest, tmp_path: Path) -> None:
    (_, options), _ = gpu_providers("tensorrt", manifest, VERSION, tmp_path, available=GPU_WHEEL)
    shapes = [options[f"trt_profile_{name}_shapes"] for name in ("min", "opt", "max")]
    assert shapes == ["pixels:1x32x32x3", "pixels:16x32x32x3", "pixels:64x32x32x3"]


def test_an_engine_cache_that_cannot_be_written_is_refused_with_the_setting(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelFileError, match="SALVER_ENGINE_CACHE_DIR"):
        gpu_providers("tensorrt", manifest, VERSION, tmp_path / "file", available=GPU_WHEEL)


def test_auto_says_that_it_falls_back_to_the_cpu(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Like the GPU wheel on a machine without a GPU, this wheel gives a session on the CPU when asked for CUDA."""
    with caplog.at_level(logging.WARNING), pytest.warns(UserWarning, match="not in available provider names"):
        assert gpu_session(file.read_bytes(), "auto", [(CUDA, CUDA_OPTIONS)]) is None
    assert "SALVER_DEVICE=auto falls back to the CPU: CUDAExecutionProvider cannot be used" in caplog.text


@pytest.mark.parametrize(("device", "provider"), [("cuda", CUDA), ("tensorrt", TENSORRT)])
def test_a_gpu_that_was_asked_for_and_gives_no_session_is_refused(file: Path, device: str, provider: str) -> None:
    with (
        pytest.warns(UserWarning, match="not in available provider names"),
        pytest.raises(ModelFileError, match=f"SALVER_DEVICE is {device} but {provider} cannot be used"),
    ):
        gpu_session(file.read_bytes(), device, [(provider, {})])


def test_loading_the_gpus_libraries_turns_tf32_off_unless_the_user_chose(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    preload_gpu_libraries()
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "1"
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE")
    preload_gpu_libraries()
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"
    assert capfd.readouterr().out == ""

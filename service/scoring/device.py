"""What onnxruntime is asked for: the GPU providers that SALVER_DEVICE means, best first, with their options.

What the session then runs on is judged from the session, in `service.scoring.model`. Option names and meanings:
https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html and …/TensorRT-ExecutionProvider.html
"""

import contextlib
import io
import logging
import os
from collections.abc import Collection
from pathlib import Path

import onnxruntime as ort

from salver.artifact.errors import ModelFileError
from salver.artifact.manifest import INPUT_NAME, Manifest
from salver.text import reason

log = logging.getLogger("salver.service")

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
ENGINE_CACHE_DIR = Path("~/.cache/salver/engines")
LARGEST_BATCH = 64
"""No batch is larger; how many images are worth it up to here is measured at start."""

Provider = tuple[str, dict[str, str]]
"""A provider's name and its options, as `onnxruntime.InferenceSession` takes them."""

CUDA_OPTIONS = {
    # One stream for all threads: the batching thread is the only one that runs the model.
    "use_ep_level_unified_stream": "1",
    "do_copy_in_default_stream": "1",
    # TF32 keeps 10 bits of the mantissa: scores would differ from training's in the third digit.
    "use_tf32": "0",
    # EXHAUSTIVE times every algorithm anew for every batch size and needs gigabytes to do so.
    "cudnn_conv_algo_search": "HEURISTIC",
    # The batch sizes are few and known, so that doubling the arena would only waste memory.
    "arena_extend_strategy": "kSameAsRequested",
}


def gpu_providers(
    device: str, manifest: Manifest, version: str, engine_cache_dir: Path | None, available: Collection[str]
) -> list[Provider]:
    """The providers to ask for on a GPU, best first; onnxruntime adds the CPU behind them for what none can run.

    Empty when `device` is `cpu` or the installed onnxruntime, whose providers are `available`, lacks the one wanted.
    `auto` means CUDA. Raises ModelFileError when TensorRT's engine cache cannot be written.
    """
    if device == "tensorrt" and TENSORRT in available:
        engines = _engine_folder(engine_cache_dir or ENGINE_CACHE_DIR, version)
        return [(TENSORRT, _tensorrt_options(manifest, engines)), (CUDA, CUDA_OPTIONS)]
    if device in ("auto", "cuda") and CUDA in available:
        return [(CUDA, CUDA_OPTIONS)]
    return []


def preload_gpu_libraries() -> None:
    """Load CUDA and cuDNN out of their Python packages, so that LD_LIBRARY_PATH need not name them.

    Also turns TF32 off in NVIDIA's libraries themselves: TensorRT has no option for it.
    """
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        ort.preload_dlls()
    if said.getvalue():
        log.warning("onnxruntime on its GPU libraries: %s", " ".join(said.getvalue().split()))


def _engine_folder(cache: Path, version: str) -> Path:
    """One folder for each model file and onnxruntime; TensorRT's own file names carry the GPU's architecture."""
    try:
        folder = cache.expanduser() / f"{version[:16]}-onnxruntime-{ort.__version__}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".writable").touch()
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        raise ModelFileError(
            f"TensorRT's engine cache in {cache} cannot be written ({reason(error)}): set SALVER_ENGINE_CACHE_DIR to a "
            "folder that can."
        ) from error
    return folder


def _tensorrt_options(manifest: Manifest, engines: Path) -> dict[str, str]:
    return {
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(engines),
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(engines),
        # A lower precision than the file's would pass by the export gate.
        "trt_fp16_enable": str(manifest.precision == "fp16"),
        "trt_int8_enable": str(manifest.precision == "int8"),
        "trt_profile_min_shapes": _shape(manifest, 1),
        "trt_profile_opt_shapes": _shape(manifest, LARGEST_BATCH // 4),
        "trt_profile_max_shapes": _shape(manifest, LARGEST_BATCH),
    }


def _shape(manifest: Manifest, batch: int) -> str:
    return f"{INPUT_NAME}:{batch}x{manifest.pixels.height}x{manifest.pixels.width}x3"

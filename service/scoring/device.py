"""Sessions of onnxruntime, and the GPU providers that SALVER_DEVICE means, best first, with their options.

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
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from salver.artifact.errors import ModelFileError
from salver.artifact.manifest import INPUT_NAME, Manifest
from salver.text import printable, reason

log = logging.getLogger("salver.service")

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
ENGINE_CACHE_DIR = Path("~/.cache/salver/engines")
LARGEST_BATCH = 64
"""No batch is larger; how many images are worth it up to here is measured at start."""

Provider = tuple[str, dict[str, str]]
"""A provider's name and its options, as `onnxruntime.InferenceSession` takes them."""

ORT_ERRORS: tuple[type[Exception], ...] = (
    ort_errors.EPFail,
    ort_errors.EngineError,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoModel,
    ort_errors.NotFound,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)
# RuntimeError is how onnxruntime says that a device's libraries or its memory cannot be had.
RUN_ERRORS: tuple[type[Exception], ...] = (*ORT_ERRORS, RuntimeError)
# UnicodeDecodeError is how its bindings say that a name in the file is not UTF-8.
OPEN_ERRORS: tuple[type[Exception], ...] = (*ORT_ERRORS, UnicodeDecodeError)

SILENT = 4  # onnxruntime's log level; what it has to say comes as an exception

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
    device: str, manifest: Manifest, version: str, engine_cache_dir: Path | None, *, available: Collection[str]
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


def gpu_session(data: bytes, device: str, providers: list[Provider]) -> ort.InferenceSession | None:
    """A session whose first provider is the one asked for; None, with a warning, when `auto` finds no usable GPU.

    Raises ModelFileError when there is none and `device` is `cuda` or `tensorrt`.
    """
    preload_gpu_libraries()
    wanted, _ = providers[0]
    try:
        session = new_session(data, providers, 1)
    except RUN_ERRORS as error:
        reason = one_line(error)
    else:
        if session.get_providers()[0] == wanted:
            return session
        reason = f"onnxruntime gave {session.get_providers()[0]} instead"
    if device != "auto":
        raise ModelFileError(
            f"SALVER_DEVICE is {device} but {wanted} cannot be used: {reason}. Use a machine with a GPU and an image "
            "with its libraries (docs/gpu.md), or set SALVER_DEVICE=auto to accept what is there."
        )
    log.warning("SALVER_DEVICE=auto falls back to the CPU: %s cannot be used: %s", wanted, reason)
    return None


def new_session(
    data: bytes, providers: list[Provider], threads: int, *, optimised: bool = True
) -> ort.InferenceSession:
    """Of a model file's bytes on these providers; one that is not optimised is opened fast, to be looked at.

    Raises OPEN_ERRORS.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = SILENT
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Never its own format, whatever the first bytes are: `model_bytes` has read the file as ONNX.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # Spinning threads win nothing here and take the cores from decoding.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Without enable_fallback=0 a session whose GPU fails goes on on the CPU, and prints so.
    session = ort.InferenceSession(data, options, providers=providers, enable_fallback=0)
    session._model_bytes = None  # kept for that fallback only: as much memory as the file is long
    return session


def one_line(error: BaseException | None) -> str:
    """In one line that a terminal shows as it is: a library quotes what stands in the file."""
    return printable(reason(error)[:400])

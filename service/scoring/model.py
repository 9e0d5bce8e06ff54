"""The model file in memory: its bytes, checked and warmed, and the one place where `session.run` is called."""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import fsspec
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from salver.artifact.bounds.model_bytes import MAX_MODEL_BYTES
from salver.artifact.errors import ModelFileError
from salver.artifact.graph import check_graph, read_manifest
from salver.artifact.manifest import INPUT_NAME, OUTPUT_NAME, Manifest
from salver.artifact.test_card import card_pixels, check_card
from salver.system.steady_file import read_steady
from salver.text import printable, reason
from service.errors import ScoringError
from service.scoring.device import CPU, CUDA, TENSORRT, Provider, gpu_providers, preload_gpu_libraries
from service.scoring.runs import SILENT
from service.scoring.watch import local_path

Pixels = NDArray[np.uint8]
Logits = NDArray[np.float32]

log = logging.getLogger("salver.service")

PROVIDERS = {"cpu": CPU, "cuda": CUDA, "tensorrt": TENSORRT}
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


@dataclass(frozen=True)
class Model:
    """A loaded, checked and warmed model file.

    On a CPU two sessions hold it: one with a single thread, called from as many scoring threads as there are cores,
    and one that spreads a lone image over all of them. On a GPU they are one and the same.
    """

    manifest: Manifest
    version: str
    """sha256 of the file."""
    provider: str
    """The onnxruntime provider that the session really runs on."""
    session: ort.InferenceSession
    lone_session: ort.InferenceSession

    def run(self, pixels: Pixels, alone: bool = False, options: ort.RunOptions | None = None) -> Logits:
        """Score uint8 pixels [batch, height, width, 3] to float32 logits [batch, classes].

        Raises ScoringError `inference-failed`.
        """
        session = self.lone_session if alone else self.session
        try:
            (logits,) = session.run([OUTPUT_NAME], {INPUT_NAME: pixels}, options)
        except ORT_ERRORS as error:
            raise ScoringError("inference-failed", "The model could not be run on this image.") from error
        return np.asarray(logits, dtype=np.float32)


@dataclass(frozen=True)
class ModelFile:
    """A model file as it was read, whole."""

    location: str
    data: bytes
    version: str
    """sha256 of the data."""


def load_model(location: str, device: str, cores: int, engine_cache_dir: Path | None = None) -> Model:
    """Read, check and warm the model file at a path or fsspec URI; see `read_model` and `open_model` for the errors."""
    return open_model(read_model(location), device, cores, engine_cache_dir)


def open_model(file: ModelFile, device: str, cores: int, engine_cache_dir: Path | None = None) -> Model:
    """Check and warm a model file.

    Raises ModelFileError: the file is not Salver's, does not run, or answers its own test card with other logits than
    training recorded; also when `device` is `cuda` or `tensorrt` and the session is not on it.
    """
    location, data, version = file.location, file.data, file.version
    manifest = _manifest(file)
    try:
        session = _session(data, [(CPU, {})], 1)
        check_graph(session, manifest.pixels, len(manifest.labels))
        gpu = gpu_providers(device, manifest, version, engine_cache_dir, ort.get_available_providers())
        on_gpu = gpu_session(data, device, gpu) if gpu else None
        lone_session = on_gpu or (_session(data, [(CPU, {})], cores) if cores > 1 else session)
        session = on_gpu or session
    except OPEN_ERRORS as error:
        raise ModelFileError(
            f"{printable(location)} cannot be loaded by onnxruntime {ort.__version__}: {_reason(error)}"
        ) from error
    model = Model(
        manifest=manifest,
        version=version,
        provider=session.get_providers()[0],
        session=session,
        lone_session=lone_session,
    )
    if device != "auto" and model.provider != PROVIDERS[device]:
        raise ModelFileError(
            f"SALVER_DEVICE is {device} but the session runs on {model.provider}: use a machine and an image with "
            f"{PROVIDERS[device]}, or set SALVER_DEVICE=auto to accept what is there."
        )
    _warm_up(model)
    return model


def read_model(location: str) -> ModelFile:
    """The file at a path or fsspec URI. Raises ModelFileError when it cannot be read, or was written to meanwhile."""
    try:
        path = local_path(location)
        data = _download(location) if path is None else read_steady(path, MAX_MODEL_BYTES)
    except (OSError, ValueError, ImportError) as error:
        raise ModelFileError(f"The model {printable(location)} cannot be read: {_reason(error)}") from error
    return ModelFile(location, data, hashlib.sha256(data).hexdigest())


def _download(location: str) -> bytes:
    with fsspec.open(location, "rb") as file:
        data = bytes(file.read(MAX_MODEL_BYTES + 1))
    if len(data) > MAX_MODEL_BYTES:
        raise ValueError(f"it has more than {MAX_MODEL_BYTES:,} bytes")
    return data


def _manifest(file: ModelFile) -> Manifest:
    """What the file says of itself, known before onnxruntime sees a byte of it."""
    try:
        return read_manifest(file.data)
    except ModelFileError as error:
        raise ModelFileError(f"{printable(file.location)} cannot be loaded: {error}") from None


def _reason(error: BaseException | None) -> str:
    """In one line that a terminal shows as it is: a library quotes what stands in the file."""
    return printable(reason(error)[:400])


def gpu_session(data: bytes, device: str, providers: list[Provider]) -> ort.InferenceSession | None:
    """A session whose first provider is the one asked for; None, with a warning, when `auto` finds no usable GPU.

    Raises ModelFileError when there is none and `device` is `cuda` or `tensorrt`.
    """
    preload_gpu_libraries()
    wanted, _ = providers[0]
    try:
        session = _session(data, providers, 1)
    except RUN_ERRORS as error:
        reason = _reason(error)
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


def _session(data: bytes, providers: list[Provider], threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = SILENT
    # Never its own format, whatever the first bytes are: `model_bytes` has read the file as ONNX.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # Spinning threads win nothing here and take the cores from decoding.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Without enable_fallback=0 a session whose GPU fails goes on on the CPU, and prints so.
    session = ort.InferenceSession(data, options, providers=providers, enable_fallback=0)
    session._model_bytes = None  # kept for that fallback only: as much memory as the file is long
    return session


def _warm_up(model: Model) -> None:
    pixels = card_pixels(model.manifest)[np.newaxis]
    try:
        for alone in (False, True):
            check_card(model.manifest, model.run(pixels, alone)[0])
    except ScoringError as error:
        raise ModelFileError(f"The model cannot be run on its own test card: {_reason(error.__cause__)}") from error

"""The model file in memory: its bytes, checked and warmed, and the one place where `session.run` is called."""

import hashlib
from dataclasses import dataclass

import fsspec
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from artifact.errors import ImageError, ModelFileError
from artifact.manifest import INPUT_NAME, OUTPUT_NAME, Manifest
from artifact.pixels import decode, to_pixels
from service.errors import ScoringError
from service.graph import ends_in_softmax

Pixels = NDArray[np.uint8]
Logits = NDArray[np.float32]

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
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
SILENT = 4  # onnxruntime's log level; what it has to say comes as an exception


@dataclass(frozen=True)
class Model:
    """A loaded, checked and warmed model file.

    Two sessions hold it: one with a single thread, called from as many scoring threads as there are cores, and one
    that spreads a lone image over all of them.
    """

    manifest: Manifest
    version: str
    """sha256 of the file."""
    provider: str
    """The onnxruntime provider that the session really runs on."""
    ends_in_softmax: bool
    """The graph's output is probabilities already; they are never put through a softmax again."""
    session: ort.InferenceSession
    lone_session: ort.InferenceSession

    def run(self, pixels: Pixels, alone: bool = False) -> Logits:
        """Score uint8 pixels [batch, height, width, 3] to float32 logits [batch, classes].

        Raises ScoringError `inference-failed`.
        """
        session = self.lone_session if alone else self.session
        try:
            (logits,) = session.run([OUTPUT_NAME], {INPUT_NAME: pixels})
        except ORT_ERRORS as error:
            raise ScoringError("inference-failed", "The model could not be run on this image.") from error
        return np.asarray(logits, dtype=np.float32)


def load_model(location: str, device: str, cores: int) -> Model:
    """Read, check and warm the model file at a path or fsspec URI.

    Raises ModelFileError: the file cannot be read, is not Salver's, does not run, or answers its own test card with
    other logits than training recorded; also when `device` is `cuda` or `tensorrt` and the session is not on it.
    """
    data = _read(location)
    try:
        session = _session(data, device, 1)
        lone_session = _session(data, device, cores) if cores > 1 else session
    except ORT_ERRORS as error:
        reason = " ".join(str(error).split())[:400]
        raise ModelFileError(f"{location} cannot be loaded by onnxruntime {ort.__version__}: {reason}") from error
    manifest = Manifest.from_metadata(session.get_modelmeta().custom_metadata_map)
    _check_graph(session, manifest)
    model = Model(
        manifest=manifest,
        version=hashlib.sha256(data).hexdigest(),
        provider=session.get_providers()[0],
        ends_in_softmax=ends_in_softmax(data, OUTPUT_NAME),
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


def _read(location: str) -> bytes:
    try:
        with fsspec.open(location, "rb") as file:
            return bytes(file.read())
    except (OSError, ValueError, ImportError) as error:
        raise ModelFileError(f"The model {location} cannot be read: {error}") from error


def _session(data: bytes, device: str, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = SILENT
    # Spinning threads win nothing here and take the cores from decoding.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(data, options, providers=_providers(device))


def _providers(device: str) -> list[str]:
    wanted = list(PROVIDERS) if device == "tensorrt" else ["cpu", "cuda"] if device in ("auto", "cuda") else ["cpu"]
    available = ort.get_available_providers()
    return [PROVIDERS[name] for name in reversed(wanted) if PROVIDERS[name] in available]


def _check_graph(session: ort.InferenceSession, manifest: Manifest) -> None:
    form = (
        [(node.name, node.type, node.shape[1:]) for node in session.get_inputs()],
        [(node.name, node.type, node.shape[1:]) for node in session.get_outputs()],
    )
    size = [manifest.pixels.height, manifest.pixels.width, 3]
    wanted = (
        [(INPUT_NAME, "tensor(uint8)", size)],
        [(OUTPUT_NAME, "tensor(float)", [len(manifest.labels)])],
    )
    if form != wanted:
        raise ModelFileError(
            f"The graph's inputs and outputs are {form} and the manifest asks for {wanted}, batch aside: "
            "export the model again."
        )


def _warm_up(model: Model) -> None:
    golden = model.manifest.golden
    try:
        pixels = to_pixels(decode(golden.image, model.manifest.pixels), model.manifest.pixels)[np.newaxis]
    except ImageError as error:
        raise ModelFileError(f"The test card in the model's manifest cannot be decoded: {error}") from error
    recorded = np.array([golden.logits[label] for label in model.manifest.labels])
    for alone in (False, True):
        difference = float(np.abs(model.run(pixels, alone)[0] - recorded).max())
        if not difference <= golden.tolerance:
            raise ModelFileError(
                f"The model answers its own test card with logits up to {difference:.3g} away from what training "
                f"recorded (tolerance {golden.tolerance:.3g}): the file, its labels or its pixel preparation were "
                "changed, or this machine computes differently. Export the model again."
            )

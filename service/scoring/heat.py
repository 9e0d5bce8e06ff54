"""The session that computes heat: of the whole file, and opened when somebody asks for it."""

import threading

import onnxruntime as ort

from salver.artifact.bounds.model_bytes import only_outputs
from salver.artifact.graph import check_graph
from salver.artifact.manifest import Manifest, OutputName
from service.errors import ScoringError
from service.scoring.device import CPU, OPEN_ERRORS, new_session, one_line

REFUSED = "The model's heat cannot be computed here"


class HeatSession:
    """One thread on a CPU, for as many callers as there are.

    A session apart, because onnxruntime computes every output of its graph, asked for or not: lone logits would pay for
    the heat that nobody wants. Until it is opened the file's bytes are kept for it.
    """

    def __init__(self, manifest: Manifest, data: bytes) -> None:
        """Raises ModelFileError unless the graph gives what the manifest says of it, and OPEN_ERRORS."""
        check_graph(new_session(data, [(CPU, {})], 1, optimised=False), manifest.pixels, manifest.outputs)
        self._data: bytes | None = data
        self._session: ort.InferenceSession | None = None
        self._lock = threading.Lock()

    def opened(self) -> ort.InferenceSession:
        """The session. Raises ScoringError `inference-failed`."""
        with self._lock:
            if self._session is None:
                if self._data is None:
                    raise ScoringError("inference-failed", f"{REFUSED}: the model is not served any more.")
                try:
                    self._session = new_session(self._data, [(CPU, {})], 1)
                except OPEN_ERRORS as error:
                    raise ScoringError("inference-failed", f"{REFUSED}: {one_line(error)}") from error
                self._data = None
            return self._session

    def close(self) -> None:
        """Let go of the session, or of what it was to be made of."""
        with self._lock:
            self._session = self._data = None


def split_heat(manifest: Manifest, data: bytes) -> tuple[bytes, dict[OutputName, tuple[int, ...]], HeatSession | None]:
    """A file without its heat, the outputs that are left with their shapes, and a session for the whole."""
    outputs = manifest.outputs
    if "heat" not in outputs:
        return data, outputs, None
    light: dict[OutputName, tuple[int, ...]] = {name: shape for name, shape in outputs.items() if name != "heat"}
    return only_outputs(data, light), light, HeatSession(manifest, data)

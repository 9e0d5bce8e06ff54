"""A model file on disk: what it says about itself, what it answers, and a new version of it."""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from salver.artifact.bounds.model_bytes import MAX_MODEL_BYTES, only_outputs
from salver.artifact.errors import ModelFileError
from salver.artifact.graph import read_manifest
from salver.artifact.manifest import INPUT_NAME, OUTPUT_NAME, Manifest, OutputName, missing_output
from salver.system.cores import available_cores
from salver.system.durable import durable
from salver.system.steady_file import read_steady
from salver.text import printable
from training.dataset.dataset import Dataset
from training.dataset.image import LabelledImage, unreadable
from training.errors import DatasetError, SettingError
from training.progress import Progress

ORT_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)

Answers = Mapping[OutputName, NDArray[np.float32]]
"""Outputs by name, each with the batch as its first axis."""


@dataclass(frozen=True)
class ModelFile:
    """Where it lies, the version that it is, and what it says about itself.

    The graph is not kept, since one can have 230 MB; a method that needs it takes it from this version or refuses.
    """

    path: Path
    sha256: str
    manifest: Manifest

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the logits."""
        return self.manifest.labels

    @property
    def outputs(self) -> Collection[OutputName]:
        """What the graph answers."""
        return self.manifest.outputs

    @classmethod
    def read(cls, path: Path) -> "ModelFile":
        """Raises SettingError for a file that cannot be read or is not Salver's."""
        data, manifest = read_model(path)
        return cls(path, hashlib.sha256(data).hexdigest(), manifest)

    def score(self, dataset: Dataset, progress: Progress) -> NDArray[np.float32]:
        """Logits [images, classes]; see `answers`."""
        return self.answers(dataset, (OUTPUT_NAME,), progress)[OUTPUT_NAME]

    def answers(self, dataset: Dataset, names: Sequence[OutputName], progress: Progress) -> Answers:
        """These outputs of every image, as the service computes them on a CPU: each image by itself.

        Raises DatasetError, which lists every image that cannot be read, and SettingError when the graph does not run,
        lacks an output, or another file stands there by now.
        """
        scored = self._score_all(self.answering(names), dataset, progress)
        refused = [row for row in scored if isinstance(row, str)]
        if refused:
            raise unreadable(refused, len(dataset))
        rows = [row for row in scored if not isinstance(row, str)]
        return {name: np.concatenate([row[name] for row in rows]) for name in names}

    def answering(self, names: Sequence[OutputName]) -> Callable[[NDArray[np.uint8]], Answers]:
        """What gives these outputs for pixels [batch, height, width, 3], on one thread; threads may share it.

        Raises SettingError, also when it is called, as `answers` does.
        """
        for name in names:
            self.check_output(name)
        data = only_outputs(self._data(), names)
        with self._running():
            session = onnxruntime.InferenceSession(data, one_thread(), providers=["CPUExecutionProvider"])

        def answered(pixels: NDArray[np.uint8]) -> Answers:
            with self._running():
                return answer(session, pixels, names)

        return answered

    @contextmanager
    def _running(self) -> Iterator[None]:
        """What onnxruntime has against the graph is a SettingError."""
        try:
            yield
        except ORT_ERRORS as error:
            reason = printable(" ".join(str(error).split())[:400])
            raise SettingError(f"{self.path} cannot be run by onnxruntime: {reason}. Export it again.") from error

    def check_output(self, name: OutputName) -> None:
        """Raises SettingError, with the way out, for an output that the graph does not have."""
        if name not in self.manifest.outputs:
            raise SettingError(f"{self.path} has no output '{name}': {missing_output(self.manifest, name)}")

    def _score_all(
        self, answered: Callable[[NDArray[np.uint8]], Answers], dataset: Dataset, progress: Progress
    ) -> list[Answers | str]:
        """The answers for each image, in batches of one, or why there are none."""

        def score(image: LabelledImage) -> Answers | str:
            try:
                pixels = image.pixels(self.manifest.pixels)
            except DatasetError as error:
                return str(error)
            return answered(pixels[None])

        progress.begin("scoring", len(dataset))
        scored = []
        with ThreadPoolExecutor(available_cores()) as pool:
            for row in pool.map(score, dataset.images):
                scored.append(row)
                progress.advance(1)
        return scored

    def write(self, path: Path, manifest: Manifest) -> "ModelFile":
        """The same graph with another manifest, to `path`, which may be its own.

        Raises OSError, and SettingError when another file stands there by now.
        """
        model = self._model()
        onnx.helper.set_model_props(model, manifest.to_metadata())
        data = model.SerializeToString()
        with durable(path) as partial:
            partial.write_bytes(data)
        return ModelFile(path, hashlib.sha256(data).hexdigest(), manifest)

    def copied(self, path: Path) -> "ModelFile":
        """The same version at `path`; nothing is written where it lies there. Raises as `write` does."""
        data = self._data()
        if not (path.exists() and path.samefile(self.path)):
            with durable(path) as partial:
                partial.write_bytes(data)
        return replace(self, path=path)

    def _model(self) -> onnx.ModelProto:
        try:
            return onnx.load_model_from_string(self._data())
        except DecodeError as error:  # such as half a number among packed ones
            raise SettingError(
                f"{self.path} cannot be written anew: {printable(str(error))}. Export it again."
            ) from error

    def _data(self) -> bytes:
        data = _bytes(self.path)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise SettingError(
                f"{self.path} has been exchanged since it was read: it was version {self.sha256[:12]}. Nothing was "
                "written; start the command again."
            )
        return data


def read_model(path: Path) -> tuple[bytes, Manifest]:
    """The one way in which a model file is read here: its bytes, which open no other file, and its manifest.

    Raises SettingError for a file that cannot be read, is not Salver's, or ends in a softmax.
    """
    data = _bytes(path)
    try:
        return data, read_manifest(data)
    except ModelFileError as error:
        raise SettingError(f"{path}: {error}") from error


def answer(session: onnxruntime.InferenceSession, pixels: NDArray[np.uint8], names: Sequence[OutputName]) -> Answers:
    """These outputs for pixels [batch, height, width, 3]. Raises ORT_ERRORS."""
    found = session.run(list(names), {INPUT_NAME: pixels})
    return dict(zip(names, found, strict=True))


def one_thread() -> onnxruntime.SessionOptions:
    """For a session that scores one image at a time, maybe beside others."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return options


def _bytes(path: Path) -> bytes:
    try:
        return read_steady(path, MAX_MODEL_BYTES)
    except OSError as error:
        raise SettingError(f"Cannot read the model file {path}: {error.strerror}. Give a readable file.") from error

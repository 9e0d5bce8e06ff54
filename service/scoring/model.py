"""The model file in memory: its bytes, checked and warmed, and the one place where `session.run` is called."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import fsspec
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from salver.artifact.bounds.model_bytes import MAX_MODEL_BYTES
from salver.artifact.errors import ModelFileError
from salver.artifact.facts.histograms import Histograms
from salver.artifact.graph import check_graph, read_manifest
from salver.artifact.manifest import INPUT_NAME, OUTPUT_NAMES, Manifest
from salver.artifact.test_card import card_pixels, check_card
from salver.system.steady_file import read_steady
from salver.text import printable
from service.errors import ScoringError
from service.scoring.device import (
    CPU,
    CUDA,
    OPEN_ERRORS,
    ORT_ERRORS,
    SILENT,
    TENSORRT,
    gpu_providers,
    gpu_session,
    new_session,
    one_line,
)
from service.scoring.heat import HeatSession, split_heat
from service.scoring.outcome import LOGITS, Batch, Wanted
from service.scoring.watch import local_path

Pixels = NDArray[np.uint8]

FAMILIARITY: Wanted = frozenset({"familiarity"})
NOTHING: Wanted = frozenset()
PROVIDERS = {"cpu": CPU, "cuda": CUDA, "tensorrt": TENSORRT}


@dataclass(frozen=True)
class Model:
    """A loaded, checked and warmed model file.

    On a CPU two sessions hold it: one with a single thread, called from as many scoring threads as there are cores,
    and one that spreads a lone image over all of them. On a GPU they are one and the same. None of them computes heat,
    which has a session of its own.
    """

    manifest: Manifest
    version: str
    """sha256 of the file."""
    provider: str
    """The onnxruntime provider that the session really runs on."""
    session: ort.InferenceSession
    lone_session: ort.InferenceSession
    facts: Histograms
    """Of the images that this version has scored."""
    heat_session: HeatSession | None = None
    """None for a file without heat."""
    card_difference: float = 0.0
    """The largest between the test card's logits here and those that training recorded; see `check_card`."""

    def run(
        self,
        pixels: Pixels,
        wanted: Wanted = LOGITS,
        *,
        alone: bool = False,
        options: ort.RunOptions | None = None,
    ) -> Batch:
        """The wanted outputs, float32 [batch, …] each, of uint8 pixels [batch, height, width, 3], all of one run.

        Raises ScoringError `inference-failed`.
        """
        names = [name for name in OUTPUT_NAMES if name in wanted]
        session = self.lone_session if alone else self.session
        if "heat" in wanted and self.heat_session is not None:
            session = self.heat_session.opened()
        try:
            values = session.run(names, {INPUT_NAME: pixels}, options)
        except ORT_ERRORS as error:
            raise ScoringError("inference-failed", "The model could not be run on this image.") from error
        return dict(zip(names, values, strict=True))

    @property
    def counted(self) -> Wanted:
        """The outputs that are counted of every image, wanted or not. The graph computes them anyway."""
        return FAMILIARITY if self.manifest.familiarity else NOTHING

    def close(self) -> None:
        """Let go of what may be kept for later: the model is served no more."""
        if self.heat_session is not None:
            self.heat_session.close()


class Runs:
    """The model's runs that are under way, so that one that does not end can be ended. Filled by the threads that run
    the model, looked at by the event loop.
    """

    def __init__(self) -> None:
        self._under_way: dict[int, tuple[float, ort.RunOptions]] = {}

    @contextmanager
    def one(self) -> Iterator[ort.RunOptions]:
        """Around a run, which takes these options."""
        options = ort.RunOptions()
        options.log_severity_level = SILENT
        self._under_way[id(options)] = time.monotonic(), options
        try:
            yield options
        finally:
            del self._under_way[id(options)]

    def end_after(self, seconds: float) -> bool:
        """Tell each run that has taken longer to end, which it does before its next operator; whether there is one."""
        overdue = [options for began, options in list(self._under_way.values()) if time.monotonic() - began > seconds]
        for options in overdue:
            options.terminate = True
        return bool(overdue)


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
    location, version = file.location, file.version
    manifest = _manifest(file)
    try:
        data, outputs, heat_session = split_heat(manifest, file.data)
        session = new_session(data, [(CPU, {})], 1)
        check_graph(session, manifest.pixels, outputs)
        gpu = gpu_providers(device, manifest, version, engine_cache_dir, available=ort.get_available_providers())
        on_gpu = gpu_session(data, device, gpu) if gpu else None
        lone_session = on_gpu or (new_session(data, [(CPU, {})], cores) if cores > 1 else session)
        session = on_gpu or session
    except OPEN_ERRORS as error:
        raise ModelFileError(
            f"{printable(location)} cannot be loaded by onnxruntime {ort.__version__}: {one_line(error)}"
        ) from error
    model = Model(
        manifest=manifest,
        version=version,
        provider=session.get_providers()[0],
        session=session,
        lone_session=lone_session,
        facts=Histograms(manifest),
        heat_session=heat_session,
    )
    if device != "auto" and model.provider != PROVIDERS[device]:
        raise ModelFileError(
            f"SALVER_DEVICE is {device} but the session runs on {model.provider}: use a machine and an image with "
            f"{PROVIDERS[device]}, or set SALVER_DEVICE=auto to accept what is there."
        )
    return replace(model, card_difference=_warm_up(model))


def read_model(location: str) -> ModelFile:
    """The file at a path or fsspec URI. Raises ModelFileError when it cannot be read, or was written to meanwhile."""
    try:
        path = local_path(location)
        data = _download(location) if path is None else read_steady(path, MAX_MODEL_BYTES)
    except (OSError, ValueError, ImportError) as error:
        raise ModelFileError(f"The model {printable(location)} cannot be read: {one_line(error)}") from error
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


def _warm_up(model: Model) -> float:
    """The test card's largest difference, over both sessions."""
    pixels = card_pixels(model.manifest)[np.newaxis]
    try:
        return max(check_card(model.manifest, model.run(pixels, alone=alone)["logits"][0]) for alone in (False, True))
    except ScoringError as error:
        raise ModelFileError(f"The model cannot be run on its own test card: {one_line(error.__cause__)}") from error

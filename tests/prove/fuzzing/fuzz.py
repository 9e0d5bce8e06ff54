"""Coverage-guided fuzzing, one target a process: `python -m tests.prove.fuzzing.fuzz TARGET CORPUS [options]`.

Whatever a target raises that is not one of our own errors ends the process with a code other than 0, and libFuzzer
keeps the input. Its options bound the time, the memory and the number of inputs.
"""

import contextlib
import random
import sys
import time
from collections.abc import Callable

import atheris
import onnx
from google.protobuf.message import DecodeError

# All imports of what leads to these: a module that was imported before is not instrumented.
with atheris.instrument_imports(include=["PIL", "salver.artifact", "service"]):
    from salver.artifact.bounds.model_bytes import read_graph
    from salver.artifact.errors import ImageError, ModelFileError
    from salver.artifact.manifest import METADATA_KEY, Manifest, PixelSpec
    from salver.artifact.pixels import Limits, decode, to_pixels
    from service.api.body import Inflater, read_media
    from service.api.form import Form
    from service.api.json_body import JsonBody
    from service.api.query import parse_query
    from service.api.request import BodyParser
    from service.api.v2.request import InferBody
    from service.errors import ScoringError
    from service.scoring.encoded import image_bytes
    from service.scoring.model import ModelFile, open_model
    from tests.prove.fuzzing import blocks
    from tests.prove.fuzzing.mutate import mutated
    from tests.support.strangers import reaches_out

SPECS = [
    PixelSpec(height=24, width=32, resize="stretch"),
    PixelSpec(height=32, width=24, resize="pad", background=(10, 20, 30)),
    PixelSpec(height=32, width=32, resize="crop", shorter_side=36),
]
LIMITS = Limits(max_bytes=2**20, max_pixels=2**20)
MOST_CPU_SECONDS = 2.0
"""For one input of at most 200,000 bytes, in the instrumented code."""
MOST_DETAIL, MOST_IMAGE_DETAIL = 1000, 250
"""Characters in the longest sentence that a caller is told, and that an image's error has."""


def _judge(text: str, status: int = 400, most: int = MOST_DETAIL) -> None:
    assert 0 < len(text) < most
    assert status < 500


def pixels(data: bytes) -> None:
    """File bytes to pixels, under each way to resize."""
    spec, begun = SPECS[len(data) % len(SPECS)], time.process_time()
    try:
        array = to_pixels(decode(data, spec, LIMITS), spec)
    except ImageError as error:
        _judge(str(error), most=MOST_IMAGE_DETAIL)
    else:
        assert array.shape == (spec.height, spec.width, 3)
    assert time.process_time() - begun < MOST_CPU_SECONDS


def body(data: bytes) -> None:
    """Request bodies, as each of the forms that there are."""
    for read in READERS:
        try:
            read(data)
        except ScoringError as error:
            _judge(error.detail, error.status)
        except ImageError as error:
            _judge(str(error))


def _json(data: bytes, whole_bytes: int) -> JsonBody:
    body = JsonBody(4, whole_bytes, 4 * 32 * 32 * 3)
    for start in range(0, len(data), 1000):
        body.write(data[start : start + 1000])
    return body


def _read_form(data: bytes) -> None:
    form = Form(b"edge", 4)
    for start in range(0, len(data), 100):
        form.write(data[start : start + 100])
    form.files()


def _read_gzip(data: bytes) -> None:
    inflater = Inflater()
    for _ in inflater.inflate(data):
        pass
    inflater.finish()


def _read_tensor(data: bytes) -> None:
    _read_infer(data[2:], str(int.from_bytes(data[:2])).encode())


def _read_infer(data: bytes, json_length: bytes | None) -> None:
    body = InferBody(4, json_length)
    body.write(data)
    body.parse().images(body.json, b"".join(body.raw), SPECS[0], 4)


READERS: tuple[Callable[[bytes], object], ...] = (
    lambda data: BodyParser(4).parse(_json(data, 2**18)),
    lambda data: BodyParser(4).parse(_json(data, 0)),
    lambda data: _read_infer(data, None),
    _read_tensor,
    _read_form,
    _read_gzip,
    parse_query,
    read_media,
    lambda data: image_bytes(data.decode("latin-1"), 1000),
)


def manifest(data: bytes) -> None:
    """The model file's JSON."""
    begun = time.process_time()
    try:
        Manifest.from_metadata({METADATA_KEY: data.decode("utf-8", "replace")})
    except ModelFileError as error:
        _judge(str(error))
    assert time.process_time() - begun < MOST_CPU_SECONDS


def graph(data: bytes) -> None:
    """The walk through a model file: what it takes reaches nothing outside, as the package `onnx` reads it."""
    begun, told = time.process_time(), ""
    try:
        read_graph(data)
    except ModelFileError as error:
        told = str(error)
        _judge(told)
    assert time.process_time() - begun < MOST_CPU_SECONDS
    with contextlib.suppress(DecodeError):  # protobuf refuses more than the walk: too deep, not UTF-8
        assert told or not reaches_out(onnx.load_model_from_string(data))


def model(data: bytes) -> None:
    """The model file, as the service opens it."""
    try:
        open_model(ModelFile("model.onnx", data, ""), "cpu", 1)
    except ModelFileError as error:
        _judge(str(error))
    else:
        assert not read_graph(data).ends_in_softmax


def by_field(data: bytes, max_size: int, seed: int) -> bytes:
    """A mutation that knows protobuf's fields, in turn with libFuzzer's own, which does not."""
    if seed % 2:
        return bytes(atheris.Mutate(data, max_size))
    return mutated(data, random.Random(seed))[:max_size]


def by_block(data: bytes, max_size: int, seed: int) -> bytes:
    """Likewise for image files and the blocks that they are made of."""
    if seed % 2:
        return bytes(atheris.Mutate(data, max_size))
    return blocks.mutated(data, random.Random(seed))[:max_size]


TARGETS = {target.__name__: target for target in (pixels, body, manifest, graph, model)}
MUTATIONS = {graph: by_field, model: by_field, pixels: by_block}


def main() -> None:
    """The command."""
    name, *options = sys.argv[1:]
    target = TARGETS[name]
    if target in MUTATIONS:
        atheris.Setup([sys.argv[0], *options], target, custom_mutator=MUTATIONS[target])
    else:
        atheris.Setup([sys.argv[0], *options], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

"""The test vectors of docs/input-contract.md."""

import base64
import hashlib

import numpy as np
import pytest

from salver.artifact import errors
from salver.artifact.manifest import PixelSpec
from salver.artifact.pixels import decode, to_pixels
from tests.salver.artifact.make_vectors import BEGIN, CONTRACT, END, VECTORS, Vector, load, table


@pytest.mark.parametrize("vector", load(), ids=lambda vector: vector["file"])
def test_every_vector_has_its_documented_outcome(vector: Vector) -> None:
    spec = PixelSpec.model_validate(vector["spec"])
    data = (VECTORS / vector["file"]).read_bytes()
    if vector["error"] is not None:
        with pytest.raises(getattr(errors, vector["error"])):
            decode(data, spec)
        return
    pixels = to_pixels(decode(data, spec), spec)
    if vector["pixels"] is None:
        assert hashlib.sha256(pixels.tobytes()).hexdigest() == vector["sha256"]
    else:
        assert vector["tolerance"] is not None
        expected = np.frombuffer(base64.b64decode(vector["pixels"]), np.uint8).reshape(pixels.shape)
        assert np.abs(pixels.astype(int) - expected).max() <= vector["tolerance"]


def test_the_table_in_the_contract_is_the_one_in_vectors_json() -> None:
    assert BEGIN + table(load()) + END in CONTRACT.read_text()


def test_every_file_beside_the_vectors_is_one_of_them() -> None:
    assert {path.name for path in VECTORS.iterdir()} == {vector["file"] for vector in load()} | {"vectors.json"}
    assert sum(path.stat().st_size for path in VECTORS.iterdir()) < 200_000

import logging
from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest
from onnx import helper

from salver.artifact.errors import ModelFileError
from salver.artifact.manifest import OUTPUT_NAME
from salver.artifact.pixels import decode, to_pixels
from service.scoring.device import CUDA, LARGEST_BATCH
from service.scoring.model import Model, load_model
from service.scoring.runner import Bucket, Runner
from tests.support.images import photo
from tests.support.models import SPEC, Constants, write


class GrowingRunner(Runner):
    """Larger batches are always worth it, whatever this machine does."""

    def seconds(self, bucket: Bucket) -> float:
        """Made up."""
        return 1 / bucket.size


class FlatRunner(Runner):
    """From 4 images on, twice the batch takes twice as long."""

    def seconds(self, bucket: Bucket) -> float:
        """Made up."""
        return max(1.0, bucket.size / 4)


class SmallRunner(GrowingRunner):
    """Has no memory for 8 images."""

    def bucket(self, size: int) -> Bucket:
        """Ask for more than any machine has."""
        if size == 8:
            ort.OrtValue.ortvalue_from_shape_and_type((2**62, 2**20), np.uint8)
        return super().bucket(size)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A convolution with three filters, and its mean over the image."""
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    weights = np.random.default_rng(0).normal(size=(3, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Transpose", ["scaled"], ["channels first"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["channels first", "weights"], ["filtered"]),
        helper.make_node("Relu", ["filtered"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["mean"]),
        helper.make_node("Flatten", ["mean"], [OUTPUT_NAME]),
    ]
    constants: Constants = {"over": np.float32(1 / 255), "weights": weights}
    return load_model(str(write(path, nodes, constants, ("a", "b", "c"))), "cpu", 1)


@pytest.mark.parametrize("images", range(1, 9))
def test_a_padded_batch_gives_the_logits_of_single_runs(model: Model, images: int) -> None:
    runner = GrowingRunner.warmed(model, limit=8)
    runner.run([np.full((SPEC.height, SPEC.width, 3), 255, np.uint8)] * 8)  # what an earlier batch leaves behind
    pixels = [to_pixels(decode(photo(40, 30, seed), SPEC), SPEC) for seed in range(images)]
    logits = runner.run(pixels)["logits"]
    assert logits.dtype == np.float32
    for one, row in zip(pixels, logits, strict=True):
        np.testing.assert_allclose(row, model.run(one[np.newaxis])["logits"][0], rtol=0, atol=1e-5)


def test_a_later_batch_does_not_change_the_logits_of_an_earlier_one(model: Model) -> None:
    runner = GrowingRunner.warmed(model, limit=1)
    first = runner.run([np.zeros((SPEC.height, SPEC.width, 3), np.uint8)])["logits"]
    kept = first.copy()
    runner.run([np.full((SPEC.height, SPEC.width, 3), 255, np.uint8)])
    assert np.array_equal(first, kept)


def test_every_number_of_images_up_to_the_largest_is_ready_after_the_start(model: Model) -> None:
    made = []

    class Counting(GrowingRunner):
        def bucket(self, size: int) -> Bucket:
            """Count."""
            made.append(size)
            return super().bucket(size)

    runner = Counting.warmed(model)
    black = np.zeros((SPEC.height, SPEC.width, 3), np.uint8)
    for images in range(1, LARGEST_BATCH + 1):
        assert len(runner.run([black] * images)["logits"]) == images
    assert made == [1, 2, 4, 8, 16, 32, 64]


def test_batches_are_no_larger_than_the_most_images_a_second_need(model: Model) -> None:
    assert FlatRunner.warmed(model).largest == 4


def test_the_largest_batch_is_measured_on_this_machine(model: Model) -> None:
    assert Runner.warmed(model, limit=4).largest in (1, 2, 4)


def test_a_batch_that_does_not_fit_is_said_and_the_next_smaller_taken(
    model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert SmallRunner.warmed(model).largest == 4
    assert "batches of 8 images cannot be run" in caplog.text


def test_a_device_without_memory_for_one_image_is_refused_by_name(model: Model) -> None:
    with pytest.raises(ModelFileError, match="cannot be run on CUDAExecutionProvider"):
        Runner.warmed(replace(model, provider=CUDA))


def test_a_batch_that_gives_other_logits_for_the_test_card_is_refused(model: Model) -> None:
    golden = model.manifest.golden.model_copy(update={"logits": {"a": 1.0, "b": 2.0, "c": 3.0}})
    changed = replace(model, manifest=model.manifest.model_copy(update={"golden": golden}))
    with pytest.raises(ModelFileError, match="test card"):
        Runner.warmed(changed)

import base64
import json
from typing import Any

import pytest
from pydantic import ValidationError

from artifact.errors import ModelFileError
from artifact.manifest import METADATA_KEY, Manifest, PixelSpec

LABELS = ["bowl", "tasse à café"]


def fields(**changes: object) -> dict[str, Any]:
    """A valid manifest as plain JSON values."""
    parity = {"images": 20, "batch_sizes": [1, 2, 8], "max_logit_difference": 1e-6, "tolerance": 1e-4}
    provenance = {
        "data_fingerprint": "sha256:0",
        "counts": {"bowl": 10, "tasse à café": 12},
        "seed": 0,
        "versions": {"torch": "2"},
        "metrics": {"accuracy": 0.9},
        "parity": parity,
    }
    golden = {
        "image": base64.b64encode(b"card").decode(),
        "logits": dict.fromkeys(LABELS, 1.0),
        "tolerance": 1e-3,
    }
    valid = {
        "schema_version": 1,
        "labels": LABELS,
        "pixels": {"height": 224, "width": 224, "resize": "crop", "shorter_side": 256},
        "base": "resnet18",
        "weights": "imagenet",
        "golden": golden,
        "provenance": provenance,
    }
    return {**valid, **changes}


def read(**changes: object) -> Manifest:
    return Manifest.from_metadata({METADATA_KEY: json.dumps(fields(**changes))})


def test_a_manifest_comes_back_as_it_was_written() -> None:
    manifest = read(thresholds={"bowl": 0.7}, temperature=1.5)
    assert Manifest.from_metadata(manifest.to_metadata()) == manifest
    assert manifest.golden.image == b"card"


def test_what_was_not_said_has_its_default() -> None:
    manifest = read()
    assert (manifest.temperature, manifest.thresholds, manifest.head, manifest.precision) == (
        1.0,
        None,
        "softmax",
        "fp32",
    )
    assert (manifest.pixels.interpolation, manifest.pixels.background) == ("bilinear", (255, 255, 255))


def test_a_field_of_a_later_version_is_ignored() -> None:
    assert read(colour_of_the_box="blue") == read()


def test_a_manifest_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        read().labels = ("a", "b")


def test_a_model_of_another_tool_is_refused_with_what_to_do() -> None:
    with pytest.raises(ModelFileError, match=r"no metadata entry 'salver'.*salver train"):
        Manifest.from_metadata({"author": "someone"})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"labels": ["bowl"]}, "labels"),
        ({"labels": ["bowl", "bowl"]}, "a label occurs twice"),
        ({"labels": ["bowl", "cafe\u0301"]}, "NFC"),
        ({"labels": ["bowl", ""]}, "labels.1"),
        ({"labels": ["bowl", "cup"]}, "golden answer names other labels"),
        ({"thresholds": {"plate": 0.5}}, "threshold names a label"),
        ({"temperature": 0}, "temperature"),
        ({"temperature": "NaN"}, "temperature"),
        ({"head": "forest"}, "head"),
        ({"precision": "fp8"}, "precision"),
        ({"golden": {**fields()["golden"], "logits": {"bowl": 1.0}}}, "golden answer names other labels"),
    ],
)
def test_a_manifest_that_is_not_valid_is_refused_and_the_place_is_named(
    changes: dict[str, object], reason: str
) -> None:
    with pytest.raises(ModelFileError, match=rf"manifest is not valid: .*{reason}.*schema version 1"):
        read(**changes)


def test_a_temperature_that_makes_infinities_of_logits_is_refused() -> None:
    with pytest.raises(ModelFileError, match="temperature"):
        read(temperature=1e-320)


def test_text_that_is_not_json_is_refused() -> None:
    with pytest.raises(ModelFileError, match="manifest is not valid"):
        Manifest.from_metadata({METADATA_KEY: "{"})


@pytest.mark.parametrize(
    "spec",
    [
        {"height": 224, "width": 224},
        {"height": 224, "width": 224, "resize": "pad", "shorter_side": 256},
        {"height": 224, "width": 300, "shorter_side": 256},
        {"height": 0, "width": 224, "resize": "pad"},
        {"height": 224, "width": 5000, "resize": "pad"},
        {"height": 224, "width": 224, "resize": "squeeze"},
        {"height": 224, "width": 224, "resize": "pad", "background": [0, 0, 256]},
        {"height": 224, "width": 224, "resize": "pad", "interpolation": "nearest"},
    ],
)
def test_a_pixel_spec_that_cannot_be_followed_is_refused(spec: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PixelSpec.model_validate(spec)

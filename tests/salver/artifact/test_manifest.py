import base64
import json
from typing import Any

import pytest
from pydantic import ValidationError

from salver.artifact.errors import ModelFileError
from salver.artifact.manifest import (
    MAX_FINGERPRINTS,
    MAX_LABELS,
    MAX_MANIFEST_BYTES,
    MAX_NAME,
    MAX_VALUES,
    METADATA_KEY,
    OUTPUT_NAMES,
    PRINT_BYTES,
    Manifest,
    PixelSpec,
    missing_output,
)

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


def test_a_manifest_of_version_1_is_read_and_knows_of_logits_alone() -> None:
    manifest = read(schema_version=1)
    assert manifest.outputs == {"logits": (len(LABELS),)}
    assert "Export it again" in missing_output(manifest, "heat")


def test_the_outputs_have_their_shapes_without_the_batch() -> None:
    familiarity = {"threshold": 0.4, "max_false_alarms": 0.05, "reached": 0.04, "photos": 24, "directions": 6}
    heat = {"rows": 7, "columns": 5, "bias": dict.fromkeys(LABELS, 0.5)}
    manifest = read(schema_version=2, features=1280, familiarity=familiarity, heat=heat)
    assert manifest.outputs == {
        "logits": (2,),
        "features": (1280,),
        "familiarity": (),
        "heat": (2, 7, 5),
    }
    assert list(manifest.outputs) == list(OUTPUT_NAMES)


def test_a_file_without_an_output_says_what_to_do() -> None:
    assert "layers between its feature map and its logits" in missing_output(
        read(schema_version=2, base="alexnet"), "heat"
    )
    assert "Export it again with all outputs" in missing_output(read(schema_version=2, base="resnet18"), "heat")


def test_a_manifest_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        read().labels = ("a", "b")


def test_a_model_of_another_tool_is_refused_with_what_to_do() -> None:
    with pytest.raises(ModelFileError, match=r"no metadata entry 'salver'.*salver train"):
        Manifest.from_metadata({"author": "someone"})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema_version": 3}, "schema_version"),
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
        ({"features": 0}, "features"),
        ({"familiarity": {"threshold": "NaN"}}, "familiarity.threshold"),
        ({"heat": {"rows": 7, "columns": 7, "bias": {"bowl": 0.1}}}, "the bias of heat names other labels"),
    ],
)
def test_a_manifest_that_is_not_valid_is_refused_and_the_place_is_named(
    changes: dict[str, object], reason: str
) -> None:
    with pytest.raises(ModelFileError, match=rf"manifest is not valid: .*{reason}.*schema versions 1 to 2") as refused:
        read(**changes)
    assert "Value error" not in str(refused.value)


def test_a_temperature_that_makes_infinities_of_logits_is_refused() -> None:
    with pytest.raises(ModelFileError, match="temperature"):
        read(temperature=1e-320)


def card(precision: str, tolerance: float, logit: float = 1.0) -> dict[str, object]:
    golden = fields()["golden"] | {"tolerance": tolerance, "logits": {LABELS[0]: logit, LABELS[1]: 0.5}}
    return {"precision": precision, "golden": golden}


@pytest.mark.parametrize(
    ("precision", "tolerance", "logit"),
    [("fp32", 1e308, 1.0), ("fp32", 0.011, 1.0), ("fp32", 0.11, -10.0), ("int8", 0.51, 0.1), ("fp16", 6.0, 10.0)],
)
def test_a_test_card_that_proves_nothing_is_refused(precision: str, tolerance: float, logit: float) -> None:
    with pytest.raises(ModelFileError, match=r"the test card's tolerance .* is above .*, the most for"):
        read(**card(precision, tolerance, logit))


@pytest.mark.parametrize(
    ("precision", "tolerance", "logit"),
    [("fp32", 1e-3, 0.1), ("fp32", 0.04, 40.0), ("int8", 0.038, 0.99), ("int8", 0.4, 1.0), ("fp16", 0.9, -45.0)],
)
def test_the_tolerances_that_training_writes_are_taken(precision: str, tolerance: float, logit: float) -> None:
    """0.001 of the largest logit, 0.02 where layers round, or 1.5 times what two kinds of processor differ by."""
    assert read(**card(precision, tolerance, logit)).golden.tolerance == tolerance


def with_labels(labels: list[str]) -> dict[str, object]:
    return {"labels": labels, "golden": fields()["golden"] | {"logits": dict.fromkeys(labels, 1.0)}}


def test_many_and_long_labels_are_read() -> None:
    labels = [f"label {n:05} of a data set with many" for n in range(21_841)] + ["x" * MAX_NAME]
    assert len(read(**with_labels(labels)).labels) == 21_842


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (with_labels(["a", "x" * (MAX_NAME + 1)]), "labels.1"),
        (with_labels(["a", "b\x1b]0;title\x07"]), "control characters"),
        (with_labels([str(n) for n in range(MAX_LABELS + 1)]), "labels"),
        ({"base": "x" * 2**20}, "base"),
        ({"provenance": fields()["provenance"] | {"metrics": {"\x1b[2J" * 2**18: 1.0}}}, "provenance.metrics"),
        ({"golden": fields()["golden"] | {"logits": {"\x1b" * 2**20: 1.0}}}, "golden.logits"),
        ({"anything": [0] * (MAX_VALUES + 1)}, "values"),
        ({"anything": "x" * MAX_MANIFEST_BYTES}, "characters"),
    ],
)
def test_what_is_too_long_is_refused_in_one_short_line(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ModelFileError, match=words) as caught:
        read(**changes)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 800


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


def changed(place: str, value: object) -> dict[str, Any]:
    """The fields with another value at a place such as "provenance.parity.images"."""
    *folders, name = place.split(".")
    whole = fields(thresholds={"bowl": 0.5}, temperature=1.0)
    change = {"label": "bowl", "threshold": 0.5, "from_sha256": "0", "min_precision": 0.9}
    whole["provenance"]["threshold_changes"] = [change]
    inner: Any = whole
    for folder in folders:
        inner = inner[int(folder) if folder.isdecimal() else folder]
    inner[name] = value
    return whole


@pytest.mark.parametrize("number", [-0.01, -1, 1.01, 80, 1e300])
@pytest.mark.parametrize(
    "place",
    [
        "thresholds.bowl",
        "provenance.threshold_changes.0.threshold",
        "provenance.threshold_changes.0.min_precision",
    ],
)
def test_a_probability_lies_between_0_and_1(place: str, number: float) -> None:
    Manifest.model_validate(changed(place, 1.0))
    with pytest.raises(ModelFileError, match=place.replace(".", r"\.")):
        Manifest.from_metadata({METADATA_KEY: json.dumps(changed(place, number))})


@pytest.mark.parametrize("place", ["provenance.counts.bowl", "provenance.seed", "provenance.parity.images"])
@pytest.mark.parametrize("number", [-1, 1.5, 2**64, 2**200])
def test_a_count_and_a_seed_are_whole_numbers_that_are_not_negative(place: str, number: float) -> None:
    Manifest.model_validate(changed(place, 0))
    with pytest.raises(ModelFileError):
        Manifest.from_metadata({METADATA_KEY: json.dumps(changed(place, number))})


@pytest.mark.parametrize(
    ("place", "number"),
    [
        ("temperature", 0),
        ("temperature", -1),
        ("temperature", 1e31),
        ("provenance.parity.tolerance", -1e-4),
        ("provenance.parity.max_logit_difference", -1),
        ("provenance.parity.batch_sizes", [0]),
    ],
)
def test_no_figure_of_a_manifest_is_one_that_cannot_be_measured(place: str, number: object) -> None:
    with pytest.raises(ModelFileError):
        Manifest.from_metadata({METADATA_KEY: json.dumps(changed(place, number))})


def prints(count: int) -> str:
    return base64.b64encode(bytes(count * PRINT_BYTES)).decode()


def test_fingerprints_come_back_and_a_file_without_is_read_as_before() -> None:
    assert read().fingerprints is None
    manifest = read(fingerprints={"train": {"bowl": prints(3)}, "test": {"tasse à café": prints(2)}})
    assert Manifest.from_metadata(manifest.to_metadata()) == manifest
    assert manifest.fingerprints is not None
    assert manifest.fingerprints.photos == 5


def test_fingerprints_take_eight_characters_a_photo() -> None:
    one, many = (
        len(read(fingerprints={"train": {"bowl": prints(count)}}).to_metadata()[METADATA_KEY]) for count in (1, 1001)
    )
    assert many - one == 8000


@pytest.mark.parametrize(
    ("fingerprints", "message"),
    [
        ({"train": {"mug": prints(1)}}, "of a label that the model does not have"),
        ({"train": {"bowl": "AAAA"}}, "6 bytes each"),
        ({"train": {"bowl": "A"}}, "fingerprints"),
        ({"test": {"bowl": prints(1)}}, "train"),
        ({"train": {"bowl": prints(MAX_FINGERPRINTS)}, "test": {"bowl": prints(1)}}, "more than 200,000 photos"),
    ],
)
def test_fingerprints_that_cannot_be_are_refused(fingerprints: object, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        read(fingerprints=fingerprints)

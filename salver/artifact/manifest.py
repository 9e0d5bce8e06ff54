"""The manifest: what `model.onnx` says about itself, as JSON in its `metadata_props["salver"]`.

This module is the only definition. Training writes it, the service reads it. An optional new field keeps
`SCHEMA_VERSION`, so unknown fields are ignored; anything else bumps it. Version 1, whose graphs answer logits alone, is
read as well; another one is refused.
"""

import unicodedata
from collections.abc import Mapping
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Base64Bytes, BaseModel, ConfigDict, Field, ValidationError, model_validator

from salver.artifact.errors import ModelFileError
from salver.text import printable, validation_message

SCHEMA_VERSION: Literal[2] = 2
METADATA_KEY = "salver"
INPUT_NAME = "pixels"
OUTPUT_NAME: Literal["logits"] = "logits"
OutputName = Literal["logits", "features", "familiarity", "heat"]
OUTPUT_NAMES: tuple[OutputName, ...] = get_args(OutputName)
"""In the order in which the graph has those that it has; see `Manifest.outputs`."""
MAPPED_BASES = ("resnet", "mobilenet_v2")
"""How the names of nets begin whose features are the plain mean of a map's cells, so that heat adds up to the logit."""
MAX_MANIFEST_BYTES = 32 * 1024**2
"""The test card of the largest image size that is trained for, 3584 pixels, takes half of it."""
MAX_VALUES = 1_000_000
"""Numbers and texts, counted by their commas before they become objects of a hundred bytes each."""
MAX_LABELS = 65_536
PRINT_BYTES = 6
"""Of a photo's fingerprint: 8 characters of base64. With a million photos known, a million others are all told apart
but with a chance of 1 in 280."""
MAX_FINGERPRINTS = 200_000
"""1.6 MB of text in the file."""
MAX_NAME = 1000
"""Characters of a label, or of another name."""
TOLERANCES = {"fp32": 0.01, "fp16": 0.5, "int8": 0.5}
"""The test card's largest tolerance, of the largest recorded logit or of 1. Training writes 0.001 for fp32. What rounds
between its layers gets 0.02, or 1.5 times what two kinds of processor differ by, measured as 0.02 to 0.04."""


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


def label_fault(label: str) -> str:
    """Why that can be no label; empty when it can."""
    if not label or unicodedata.normalize("NFC", label) != label:
        return f"label {label!r} is empty or not in Unicode form NFC"
    if printable(label) != label:
        return f"label {label!r} has control characters"
    return f"label {label[:20]!r}… has more than {MAX_NAME} characters" if len(label) > MAX_NAME else ""


def _label(label: str) -> str:
    if fault := label_fault(label):
        raise ValueError(fault)
    return label


Name = Annotated[str, Field(max_length=MAX_NAME)]
Label = Annotated[Name, AfterValidator(_label)]
Byte = Annotated[int, Field(ge=0, le=255)]
Side = Annotated[int, Field(ge=1, le=4096)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Probability = Annotated[float, Field(ge=0, le=1)]
Bins = Annotated[dict[Name, Count], Field(max_length=256)]


def _whole(prints: bytes) -> bytes:
    if len(prints) % PRINT_BYTES:
        raise ValueError(f"fingerprints have {PRINT_BYTES} bytes each, and these are {len(prints)} bytes")
    return prints


Prints = Annotated[Base64Bytes, AfterValidator(_whole)]


class PixelSpec(Frozen):
    """How an image becomes the graph's input: uint8 [height, width, 3], sRGB."""

    height: Side
    width: Side
    resize: Literal["crop", "pad", "stretch"] = "crop"
    shorter_side: Side | None = None
    """With `crop`: the shorter side in pixels before the centre is cut out; None with the other modes."""
    interpolation: Literal["bilinear", "bicubic", "lanczos"] = "bilinear"
    background: tuple[Byte, Byte, Byte] = (255, 255, 255)
    """sRGB colour behind transparent pixels and around padded images."""

    @model_validator(mode="after")
    def _crop_lies_inside(self) -> Self:
        if (self.resize == "crop") != (self.shorter_side is not None):
            raise ValueError("shorter_side goes with resize 'crop' and with no other mode")
        if self.shorter_side is not None and self.shorter_side < max(self.height, self.width):
            raise ValueError(f"shorter_side {self.shorter_side} is less than the crop {self.height} x {self.width}")
        return self


class Golden(Frozen):
    """A rendered test card and training's own answer for it, which the service's warm-up must repeat."""

    image: Base64Bytes
    logits: dict[Label, float]
    tolerance: Annotated[float, Field(gt=0)]


class Difference(Frozen):
    """The largest between two answers, and what the gate lets pass, both in the output's own unit."""

    largest: Annotated[float, Field(ge=0)]
    tolerance: Annotated[float, Field(gt=0)]


class Parity(Frozen):
    """What the export gate measured between torch and onnxruntime on real validation images."""

    images: Count
    batch_sizes: tuple[Annotated[int, Field(ge=1, lt=2**31)], ...]
    max_logit_difference: Annotated[float, Field(ge=0)]
    tolerance: Annotated[float, Field(gt=0)]
    outputs: dict[Name, Difference] = {}
    """Of each output besides the logits; "heat sum" is that of heat's mean and bias from the logit."""
    outputs_images: Count = 0
    """How many of the images those were compared on."""


class Familiarity(Frozen):
    """What the output `familiarity` means: an image below the threshold is unlike the training photos, foreign."""

    threshold: Annotated[float, Field(ge=-1, le=1)]
    max_false_alarms: Annotated[float, Field(gt=0, lt=1)]
    """The share of photos like the training photos that may be called foreign, as it was asked for."""
    reached: Annotated[float, Field(gt=0, lt=1)]
    """The share that the threshold was set for: a multiple of 1 / (photos + 1)."""
    photos: Count
    """Different training photos that it was set by, each judged by what the others span."""
    directions: Annotated[int, Field(ge=1)]


class Heat(Frozen):
    """What the output `heat` means: for each label, cells of which the mean, plus the bias, is the logit."""

    rows: Side
    columns: Side
    bias: dict[Label, float]


class Reference(Frozen):
    """The facts of images that training did not see, as this file answers them: in bins, for `salver drift`.

    Of no image are there more than the bins that it is in, and these without what belongs together.
    """

    images: Count
    """Looks at the world: images that are nearly the same count once."""
    facts: Annotated[dict[Name, Bins], Field(max_length=32)]
    """By the facts and bins of `salver.artifact.facts`; empty bins are left out."""

    @model_validator(mode="after")
    def _no_fact_has_more_than_all(self) -> Self:
        if any(sum(bins.values()) > self.images for bins in self.facts.values()):
            raise ValueError("a fact of the reference counts more images than there were")
        return self


class Fingerprints(Frozen):
    """Which photos each part of the run had, by the label that they had there.

    Of each photo the first `PRINT_BYTES` of its content's sha256, sorted, one after the other.
    """

    train: dict[Label, Prints]
    validation: dict[Label, Prints] = {}
    test: dict[Label, Prints] = {}

    @property
    def parts(self) -> dict[Literal["train", "validation", "test"], dict[str, bytes]]:
        """By their names."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def photos(self) -> int:
        """Of all parts together."""
        return sum(len(prints) for part in self.parts.values() for prints in part.values()) // PRINT_BYTES


class ThresholdChange(Frozen):
    """A threshold that was set after the export: on which version of the file, and by which images."""

    label: Label
    threshold: Probability
    from_sha256: Name
    min_precision: Probability | None = None
    """The precision that was asked for; None for a threshold that was given as a number."""
    data_fingerprint: Name | None = None


class Provenance(Frozen):
    """Where the model comes from."""

    data_fingerprint: Name
    counts: dict[Label, Count]
    seed: Annotated[int, Field(ge=0, lt=2**64)]
    versions: dict[Name, Name]
    git_revision: Name | None = None
    metrics: dict[Name, float]
    parity: Parity
    threshold_changes: tuple[ThresholdChange, ...] = ()
    class_weights: dict[Label, Annotated[float, Field(gt=0)]] | None = None
    """What a photo of each label counted in training, where not all counted alike: scores are those of labels that come
    as often as this makes them."""


class Manifest(Frozen):
    """The whole manifest; `labels` are in the order of the graph's output."""

    schema_version: Literal[1, 2] = SCHEMA_VERSION
    labels: Annotated[tuple[Label, ...], Field(min_length=2, max_length=MAX_LABELS)]
    pixels: PixelSpec
    temperature: Annotated[float, Field(ge=1e-30, le=1e30)] = 1.0
    """What logits are divided by before softmax; a smaller one makes infinities of them."""
    thresholds: dict[Label, Probability] | None = None
    head: Literal["softmax", "svm"] = "softmax"
    base: Name
    weights: Name
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    features: Annotated[int, Field(ge=1)] | None = None
    """The width of the output `features`; None for a graph without."""
    familiarity: Familiarity | None = None
    heat: Heat | None = None
    reference: Reference | None = None
    fingerprints: Fingerprints | None = None
    """None for a file that does not tell which photos it was trained on."""
    golden: Golden
    provenance: Provenance

    @model_validator(mode="after")
    def _labels_agree(self) -> Self:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("a label occurs twice")
        if set(self.golden.logits) != set(self.labels):
            raise ValueError("the golden answer names other labels than the model")
        if self.heat is not None and set(self.heat.bias) != set(self.labels):
            raise ValueError("the bias of heat names other labels than the model")
        if self.thresholds is not None and not set(self.thresholds) <= set(self.labels):
            raise ValueError("a threshold names a label that the model does not have")
        return self

    @model_validator(mode="after")
    def _fingerprints_in_bounds(self) -> Self:
        if self.fingerprints is None:
            return self
        if self.fingerprints.photos > MAX_FINGERPRINTS:
            raise ValueError(f"it has fingerprints of more than {MAX_FINGERPRINTS:,} photos")
        if not set().union(*self.fingerprints.parts.values()) <= set(self.labels):
            raise ValueError("a fingerprint is of a label that the model does not have")
        return self

    @model_validator(mode="after")
    def _card_proves_something(self) -> Self:
        largest = TOLERANCES[self.precision] * max(1.0, *map(abs, self.golden.logits.values()))
        if self.golden.tolerance > largest:
            raise ValueError(
                f"the test card's tolerance {self.golden.tolerance:.3g} is above {largest:.3g}, the most for "
                f"{self.precision} and these logits"
            )
        return self

    @property
    def outputs(self) -> dict[OutputName, tuple[int, ...]]:
        """The shape of each output of the graph, batch aside."""
        heat = self.heat
        shapes: dict[OutputName, tuple[int, ...] | None] = {
            "logits": (len(self.labels),),
            "features": (self.features,) if self.features else None,
            "familiarity": () if self.familiarity else None,
            "heat": (len(self.labels), heat.rows, heat.columns) if heat else None,
        }
        return {name: shape for name, shape in shapes.items() if shape is not None}

    def to_metadata(self) -> dict[str, str]:
        """The entry for the ONNX file's `metadata_props`."""
        return {METADATA_KEY: self.model_dump_json(exclude_none=True)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Self:
        """Read it back. Raises ModelFileError when it is absent, of another schema version, or not valid."""
        text = metadata.get(METADATA_KEY)
        if text is None:
            raise ModelFileError(
                f"The ONNX file has no metadata entry '{METADATA_KEY}': it was not exported by Salver. "
                "Export it with 'salver train'."
            )
        if len(text) > MAX_MANIFEST_BYTES or text.count(",") > MAX_VALUES:
            raise _not_valid(f"it has {len(text):,} characters and {text.count(','):,} values")
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "manifest"
            raise _not_valid(
                f"{printable(where)[:200]}: {printable(validation_message(first['msg']))[:300]}"
            ) from error


def missing_output(manifest: Manifest, name: OutputName) -> str:
    """Why a file does not have that output, and what to do."""
    if manifest.schema_version == 1:
        return "the file was exported by an earlier Salver. Export it again."
    if name == "heat" and not manifest.base.startswith(MAPPED_BASES):
        return f"{manifest.base} has layers between its feature map and its logits, so no heat adds up to them."
    return "it was exported without. Export it again with all outputs."


def _not_valid(reason: str) -> ModelFileError:
    return ModelFileError(
        f"The model's manifest is not valid: {reason}. This Salver reads schema versions 1 to {SCHEMA_VERSION}; "
        "export the model again with this version of Salver."
    )

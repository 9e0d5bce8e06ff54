"""A tiny model file with all outputs, made without torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from onnx import helper

from salver.artifact.manifest import OUTPUT_NAME, OUTPUT_NAMES, Familiarity, Heat, PixelSpec
from tests.support.models import SPEC, Beside, Constants, Nodes, write

COLOURS = ("red", "green", "blue")
CELLS = 16
"""Rows and columns of the heat of `complete`."""
BIAS = (0.5, 0.25, 0.0)


def complete(
    path: Path,
    spec: PixelSpec = SPEC,
    *,
    threshold: float = 0.8,
    outputs: Sequence[str] = OUTPUT_NAMES,
    schema_version: Literal[1, 2] = 2,
    base: str = "probe",
    floor: float = 0.0,
    thresholds: dict[str, float] | None = None,
) -> Path:
    """A model with every output, or with those named, which tells red, green and blue.

    A cell's features are its red less green, green less blue and blue less red, where above zero, and the `floor`.
    Those of the image are their mean over `CELLS` x `CELLS` cells; logits are 8 times them, plus the bias. The
    familiarity is the first of the unit features: 1 for red. Without a floor, what is grey, black or white has none.
    """
    side = (spec.height // CELLS, spec.width // CELLS)
    constants: Constants = {
        "over": np.float32(1 / 255),
        "gain": np.eye(3, dtype=np.float32) * 8,
        "less": np.array([[1, 0, -1], [-1, 1, 0], [0, -1, 1]], np.float32),
        "bias": np.array(BIAS, np.float32),
        "cells": np.array([2, 3]),
        "width": np.array([1]),
        "zero": np.array(0),
        "floor": np.float32(floor),
    }
    nodes: Nodes = [
        helper.make_node("MatMul", ["scaled", "less"], ["differences"]),
        helper.make_node("Relu", ["differences"], ["above zero"]),
        helper.make_node("Add", ["above zero", "floor"], ["seen"]),
        helper.make_node("Transpose", ["seen"], ["channels"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["channels"], ["map"], kernel_shape=side, strides=side),
        helper.make_node("ReduceMean", ["map", "cells"], ["features"], keepdims=0),
        helper.make_node("MatMul", ["features", "gain"], ["product"]),
        helper.make_node("Add", ["product", "bias"], [OUTPUT_NAME]),
        helper.make_node("ReduceL2", ["features", "width"], ["length"], keepdims=1),
        helper.make_node("Div", ["features", "length"], ["unit"]),
        helper.make_node("Gather", ["unit", "zero"], ["familiarity"], axis=1),
        helper.make_node("Transpose", ["map"], ["cells last"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["cells last", "gain"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["heat"], perm=[0, 3, 1, 2]),
    ]
    return write(
        path,
        nodes,
        constants,
        COLOURS,
        spec,
        thresholds=thresholds,
        base=base,
        beside=Beside(
            schema_version,
            3 if "features" in outputs else None,
            Familiarity(threshold=threshold, max_false_alarms=0.05, reached=0.04, photos=24, directions=1)
            if "familiarity" in outputs
            else None,
            Heat(rows=CELLS, columns=CELLS, bias=dict(zip(COLOURS, BIAS, strict=True))) if "heat" in outputs else None,
        ),
    )

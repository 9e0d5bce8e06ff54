"""Everything before the model file: data set, nets, fit, evaluation, export."""

import os

# Before anything imports onnxruntime, which else sends what it does to its makers: see service/__init__.py.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

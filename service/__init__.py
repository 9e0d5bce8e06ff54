"""From an HTTP request to scores: FastAPI and onnxruntime, no torch."""

import os

# From its import on, onnxruntime sends the model's name and hashes and this machine's id to its makers, and keeps files
# of that under HOME. It reads this variable then, so it stands where nothing can come before it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

"""From an HTTP request to scores: FastAPI and onnxruntime, no torch."""

"""The contract of the model file: its manifest, and file bytes to pixels. Imports neither room."""

"""The contract of the model file: its manifest, and file bytes to pixels. Imports no other room."""

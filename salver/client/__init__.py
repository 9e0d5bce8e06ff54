"""Scores images with a Salver service: what a caller's machine runs."""

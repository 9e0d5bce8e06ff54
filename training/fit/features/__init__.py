"""Feature vectors, and what is told by them: what an image is like."""

"""What a caller's machine runs: it scores images with a Salver service."""

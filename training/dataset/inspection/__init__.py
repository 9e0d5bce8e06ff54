"""What one image file is, kept by its content."""

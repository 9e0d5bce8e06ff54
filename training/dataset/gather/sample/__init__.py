"""A rendered stand-in for a folder of photos."""

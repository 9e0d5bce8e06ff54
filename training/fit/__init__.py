"""A net's weights out of photos."""

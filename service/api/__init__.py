"""The scoring API: bytes to items, and results to JSON."""

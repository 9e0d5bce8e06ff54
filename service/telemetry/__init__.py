"""What is seen of a request: its line in the log, its numbers, its span."""

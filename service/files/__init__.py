"""Files that are looked at again and again while the service runs."""

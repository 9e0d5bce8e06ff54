"""The net as a file, through the gate."""

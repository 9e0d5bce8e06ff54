"""What the commands say at their end."""

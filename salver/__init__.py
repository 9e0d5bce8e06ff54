"""What other people's code imports, the command, and what the rooms share."""

"""The nets, and where their weights come from."""

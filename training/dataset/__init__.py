"""Photos in folders: labelled, checked, split."""

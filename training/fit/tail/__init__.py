"""Fine-tuning the last blocks of a net alone, on maps of the photos that are kept."""

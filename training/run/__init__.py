"""One run of `salver train`: from photos to a folder with the model file."""

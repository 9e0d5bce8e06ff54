"""The commands that make a data set and a model file."""

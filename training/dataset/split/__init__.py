"""How a data set falls into parts or folds, and the file that keeps it."""

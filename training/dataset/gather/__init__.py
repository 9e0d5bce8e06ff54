"""Photos from folders, URLs and searches into a data set."""

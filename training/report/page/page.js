// Everything in its place.

grid.start();
viewer.start();
filters.start();
thresholds.start();
confusion.start();
figures.start();

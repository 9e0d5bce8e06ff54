// Everything in its place.

heat.start();
grid.start();
viewer.start();
filters.start();
thresholds.start();
confusion.start();
figures.start();

"""What a model file says of the images it was made for, beside what a service was sent."""

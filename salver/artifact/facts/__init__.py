"""What is counted of scored images, in bins: by training for the model file, by the service while it runs."""

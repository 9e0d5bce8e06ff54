"""What a model knows of its limits: images unlike its training photos, and a service whose images have changed."""

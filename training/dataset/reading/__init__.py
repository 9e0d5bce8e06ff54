"""What lies in a folder of photos, and what the tables beside them say."""

"""Starts, changes and ends scoring services: as a process, in Docker, on Kubernetes."""

"""Locust users for the scoring service."""

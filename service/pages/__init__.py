"""The pages for people: one to try the service with, and the API's description."""

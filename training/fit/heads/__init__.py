"""Last layers that are fitted in closed form on features, and how well they do on photos that they never saw."""

"""How much a caller may ask for, and how long anything may take."""

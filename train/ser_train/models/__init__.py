"""Build, name and save networks."""

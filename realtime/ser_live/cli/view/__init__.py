"""Draw the live view of a terminal."""

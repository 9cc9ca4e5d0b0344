"""Listen for hours and find out what that does: ``python -m ser_live.soak``."""

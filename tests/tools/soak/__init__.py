"""Listen for hours and find out what that does: ``python tests/tools/soak``."""

"""Show the live loop: ``ser-live``."""

"""Parse, run, show: ``ser-train``."""

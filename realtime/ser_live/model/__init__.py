"""Know a model: its card, its file, its graph."""

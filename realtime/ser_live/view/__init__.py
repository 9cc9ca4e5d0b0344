"""The live view's parts: what is known of a stream, and how it is painted."""

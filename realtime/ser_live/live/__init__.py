"""Listen to a source while it goes on."""

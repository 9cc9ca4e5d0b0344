"""Turn clips into training batches."""

"""Measure a network by a protocol: folds, their ledger, and the report."""

"""Write model cards, tables and plots."""

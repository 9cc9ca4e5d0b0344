"""Tools that measure and attack the product: they are not shipped."""

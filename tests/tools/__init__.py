"""Tools that measure and stress the product; not shipped. Their commands are in README.md."""

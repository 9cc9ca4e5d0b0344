"""Live loop: a source that goes on, its predictions, and what happens beside them."""

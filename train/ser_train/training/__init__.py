"""Train and adapt networks."""

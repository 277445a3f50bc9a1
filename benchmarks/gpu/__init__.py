"""What needs a GPU, for the quarter of an hour that one is at hand: see README.md beside this."""

"""Score image pairs of any size with a model, a baseline or any other scorer."""

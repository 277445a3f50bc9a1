"""Score image pairs of any size with a model."""

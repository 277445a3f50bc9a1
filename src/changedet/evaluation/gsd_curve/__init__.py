"""How good a model is at other ground sample distances."""

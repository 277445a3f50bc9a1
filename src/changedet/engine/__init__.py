"""Training and evaluation of a built model: no file layout, no settings file, no printing."""

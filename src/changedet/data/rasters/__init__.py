"""Training and evaluation on whole rasters listed in a manifest."""

"""Change maps as files: image pairs, whole rasters, folders of both."""

"""Training and evaluation on labelled rasters: two dates and their labels, listed in a manifest.

The manifest, ``scenes.yaml``, and messages to the user call a labelled raster a scene.
"""

"""Whole scenes: two rasters of any size in, georeferenced change map and polygons out."""

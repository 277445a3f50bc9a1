"""Scenes as data sets: pairs of rasters with label polygons or a label raster, cut into blocks."""

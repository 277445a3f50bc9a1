"""Polygons: outlines of change, areas, regions and their files."""

"""Rasters: tile arithmetic."""

"""Rasters: read, align, resample and write them, window by window; tile arithmetic."""

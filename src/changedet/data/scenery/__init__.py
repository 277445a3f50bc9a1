"""A toy countryside: its geometry, its seasons and how a camera sees it."""

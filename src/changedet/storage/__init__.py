"""Files and folders: atomic writes, output folders, YAML, JSON values."""

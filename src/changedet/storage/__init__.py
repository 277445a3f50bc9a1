"""Files and folders: atomic writes, output folders, YAML, result files."""

"""Network building blocks: torch only, no files, no configuration."""

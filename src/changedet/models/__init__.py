"""Change-detection networks, their weights and their files."""

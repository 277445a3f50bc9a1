"""From settings to objects, and from results to files that people read."""

"""Train a table of experiments and decide which of its claims hold."""

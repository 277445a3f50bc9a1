"""What the values of change masks mean, and reading them."""

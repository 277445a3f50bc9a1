"""What needs a GPU, within a budget of minutes: see README.md in this folder."""

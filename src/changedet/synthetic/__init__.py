"""Generated landscapes with known changes, for the demo and for tests."""

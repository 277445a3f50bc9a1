"""Untrained methods of change detection: what every trained model has to beat."""

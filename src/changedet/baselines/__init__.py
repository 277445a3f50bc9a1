"""Unsupervised methods that need no training."""

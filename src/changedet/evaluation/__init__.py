"""Evaluate models and baselines on labelled pairs, choose thresholds, run the benchmark."""

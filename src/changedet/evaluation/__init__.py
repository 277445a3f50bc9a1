"""Judge models and baselines on labelled pairs; choose thresholds; benchmark."""

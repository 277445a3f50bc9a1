"""Training samples: sampling order, crops and augmentation."""

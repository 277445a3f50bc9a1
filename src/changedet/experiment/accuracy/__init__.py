"""The accuracy benchmark: models and untrained methods on one split, judged alike."""

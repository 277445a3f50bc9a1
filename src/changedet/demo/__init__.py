"""The built-in demo: generated pairs, training, evaluation, one prediction, one report page."""

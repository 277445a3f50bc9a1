"""Check, prepare and compare data sets."""

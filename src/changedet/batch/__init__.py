"""Prediction for an archive of scenes: a catalogue in, one folder of results per item out."""

"""Streaming counts and the figures computed from them (spec 5)."""

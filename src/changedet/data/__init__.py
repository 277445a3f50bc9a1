"""Pairs of images on disk: finding, checking, reading, cropping and inventing them."""

"""Pairs of images on disk: find, check, read, crop and augment them."""

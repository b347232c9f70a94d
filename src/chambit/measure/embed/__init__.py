"""Extractors: images to feature vectors, one file each; a number is never given without the extractor's name."""

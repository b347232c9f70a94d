"""Pixels: the `Image` record, readers (one file per format), and sets of images in the store."""

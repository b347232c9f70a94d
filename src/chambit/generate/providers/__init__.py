"""Services that make images from text, one file each."""

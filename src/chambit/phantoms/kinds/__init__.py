"""Kinds of phantoms, one file each: who is drawn, and as which files."""

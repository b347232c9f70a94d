"""Phantoms: procedurally drawn chest radiographs, the embedded cohort; no image here is of a person."""

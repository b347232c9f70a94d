"""Makes synthetic images: networks, objectives, codecs, stages and refinement (one file per kind each)."""

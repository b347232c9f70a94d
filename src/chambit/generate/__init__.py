"""Makes synthetic images: networks, objectives, codecs, stages (one file per kind) and refinement (one file per kind)."""

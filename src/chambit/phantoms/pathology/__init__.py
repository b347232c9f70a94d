"""Drawn patches of colon stained with haematoxylin and eosin: glands, cells, stroma, stain and scanner."""

"""Intra-oral photographs in five views: who the patient is, crowns, gums, lips, light, and parts."""

"""Chambit: the release gate for synthetic medical images."""

__version__ = "0.1.0"

"""Drawn patients: procedural images of several kinds for demonstrations and tests, none of a person."""

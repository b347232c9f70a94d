"""Stages: what can be trained and sampled, one file per kind."""

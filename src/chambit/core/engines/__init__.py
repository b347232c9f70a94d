"""Engines: how chunks of work are spread; one file per kind (`inline`, `processes`)."""

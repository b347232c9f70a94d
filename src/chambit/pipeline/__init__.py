"""The study's steps in order: the only room that knows all the others."""

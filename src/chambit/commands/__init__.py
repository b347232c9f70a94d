"""One file per command: reads arguments, calls one function, prints."""

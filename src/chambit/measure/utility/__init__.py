"""Is the set useful? One file per measure."""

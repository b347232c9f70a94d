"""Is the set safe? One file per measure; none passes without a planted case that made it fire."""

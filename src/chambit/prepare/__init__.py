"""Real files in, a cohort out: intake with a reason for every refused file, and the split by subject."""

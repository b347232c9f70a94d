"""The examiner: measures of utility and safety (one file each), their statistics, and nothing of the generator."""

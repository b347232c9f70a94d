"""What a network learns and how it is sampled: one file for each objective."""

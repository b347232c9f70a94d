"""Images bought from text: factors, prompts, a priced plan, calls that are never paid twice, and what was obtained."""

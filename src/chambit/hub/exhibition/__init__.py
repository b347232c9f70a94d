"""The exhibition corner: a wall of all images, a map of them over where real ones lie, and a game of telling apart."""

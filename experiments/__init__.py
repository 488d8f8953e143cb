"""Command-line scripts over the public names of kerazoo."""

"""One input file: its record counts, checks, runs and locks, and the mentions that it reuses."""

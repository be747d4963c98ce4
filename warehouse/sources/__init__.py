"""One input file: its record counts, its checks, its runs, its locks, and what of it is reused."""

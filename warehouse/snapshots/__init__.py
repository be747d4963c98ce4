"""Snapshots: publish, read, compare, roll back, compact, prune."""

"""Snapshots: publish, read, compare, roll back, compact and prune."""

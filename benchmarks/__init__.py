"""Measurements of the project: each prints what it measured, and on what."""

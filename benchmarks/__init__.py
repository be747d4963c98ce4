"""Measurements of the project; each prints its figures and describes its input."""

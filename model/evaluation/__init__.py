"""Evaluation: protocols, slices, baselines, comparisons and the report."""

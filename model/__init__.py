"""The science: the three-level network, its training, its inference and its scores.

Knows nothing of Prefect or DuckDB, so that it runs on a bare GPU machine.
"""

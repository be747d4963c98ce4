"""The three-level network, its training, inference and evaluation.

Imports neither Prefect nor DuckDB, so that it runs on a bare GPU machine.
"""

import os

# On CPUs torch caches 1,024 kernels, one for each shape of operands, in two caches that read their size at first use.
# Batches of text rarely have the same shape twice, so that these kernels would fill gigabytes for nothing.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")
os.environ.setdefault("LRU_CACHE_CAPACITY", "16")

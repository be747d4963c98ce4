"""The science: the three-level network, its training, its inference and its scores.

Knows nothing of Prefect or DuckDB, so that it runs on a bare GPU machine.
"""

import os

# On CPUs torch keeps the last 1,024 kernels that it made for the shapes of its operands, in two caches, each read
# when it is first used. Batches of text hardly ever have a shape twice: the kernels would fill gigabytes, in vain.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")
os.environ.setdefault("LRU_CACHE_CAPACITY", "16")

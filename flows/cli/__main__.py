"""`python -m flows.cli` is `e2emern`."""

from . import main

main()

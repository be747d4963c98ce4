"""`python -m flows.cli` is `e2emern`."""

from flows.cli import main

main()

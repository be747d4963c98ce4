"""`python -m e2emern.flows.cli` is `e2emern`."""

from e2emern.flows.cli import main

main()

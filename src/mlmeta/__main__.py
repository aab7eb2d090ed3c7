"""`python -m mlmeta`."""

from mlmeta.cli.app import main

main()

"""`python -m workflows`: the `tsme` command."""

from workflows.cli import main

main()

"""`python -m workflows`: the `tsme` command."""

from workflows.cli.main import main

main()

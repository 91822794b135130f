"""`python -m workflows` is the `tsme` command."""

from workflows.cli.main import main

main()

"""`python -m tune` is the same as `tsme sweep`."""

import sys

from workflows.cli.main import main

main(["sweep", *sys.argv[1:]])

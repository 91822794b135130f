"""The `tsme` command. Exit status: 0 success, 1 a failed job, 2 bad usage or bad input."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from tsme.errors import JobFailed, UserError
from workflows.cli.data import data_app
from workflows.cli.export import export
from workflows.cli.report import report, resume_command, status
from workflows.cli.run import demo, run
from workflows.cli.search import index, search
from workflows.cli.serve import serve
from workflows.cli.test import test
from workflows.cli.train import ablate, sweep, train
from workflows.cluster import environment

INTERRUPTED = 130  # typer's status for Ctrl-C

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich's help takes a quarter of a second longer
    help="Visible-infrared person re-identification by two-stage modality enhancement.",
)
COMMANDS = (demo, run, train, sweep, ablate, test, index, search, serve, export, report, status)
for command in COMMANDS:
    app.command()(command)
app.add_typer(data_app, name="data")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; an error that the user can fix is one line on standard error."""
    environment.prepare()
    try:
        exit_status = app(arguments, standalone_mode=False)
    except UserError as error:
        _fail(str(error), 2)
    except JobFailed as error:
        _fail(str(error), 1)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        # A usage error: typer's exception types are not public.
        _fail(error.format_message() or "which command? --help lists them", 2)
    if exit_status == INTERRUPTED:
        again = resume_command(sys.argv[1:] if arguments is None else arguments)
        kept = f"; finished work is kept, continue with: {again}" if again else ""
        _fail(f"interrupted{kept}", INTERRUPTED)
    sys.exit(exit_status)


def _fail(message: str, status: int) -> NoReturn:
    print(f"tsme: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)

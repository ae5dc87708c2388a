"""The ``conceptaudit`` program: its verbs, its exit codes, its last line of defence."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module, metadata
from typing import Annotated

import typer

from conceptaudit.cli.console import complain, say
from conceptaudit.errors import ConceptAuditError

EXIT_FAULTS = 1
EXIT_USER = 2
EXIT_INTERRUPTED = 130

VERBS = ("audit", "fit", "predict")
"""In the order in which a user meets them; each is a module with a function of its name."""

app = typer.Typer(
    name="conceptaudit",
    help="Audit concept frequency in image-caption data, predict zero-shot accuracy from it, and "
    "build long-tail test sets.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"conceptaudit {metadata.version('conceptaudit')}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error, and warnings.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Hold the options that stand before the verb."""
    if not debug:
        warnings.simplefilter("ignore")


for verb in VERBS:
    app.command(verb)(getattr(import_module(f"conceptaudit.cli.{verb}"), verb))


def run() -> None:
    """Run the program; the entry point that ``pip`` installs."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: list[str]) -> int:
    """Run the program with these arguments and return its exit code.

    Returns
    -------
    int
        0; 1 where a check found faults; 2 where the call or the data are at fault; 130 on Ctrl-C.
    """
    import click

    try:
        outcome = app(arguments, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        complain("Interrupted. Finished shards are kept: run the same command to go on.")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return 0
    except ConceptAuditError as error:
        if "--debug" in arguments:
            raise
        complain(f"error: {error}")
        return EXIT_USER
    return outcome if isinstance(outcome, int) else 0

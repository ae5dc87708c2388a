"""``conceptaudit cite``: BibTeX of what a run rests on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from conceptaudit.cli.console import say


def cite(run: Annotated[Path, typer.Argument(help="Folder of a finished run.")]) -> None:
    """Print BibTeX of what a run rests on: models, weights, taggers, word lists, methods.

    Entries follow from the run's manifest. Datasets and concept lists are yours to cite.

    \u0008
    Example:
      conceptaudit cite runs/both > rests-on.bib
    """
    from conceptaudit.citing import cited

    say(cited(run))

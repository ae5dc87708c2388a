"""``conceptaudit cite``: BibTeX of what a run rests on."""

from __future__ import annotations

from pathlib import Path

from conceptaudit.cli.console import say
from conceptaudit.cli.generated import takes_options
from conceptaudit.options.fields import argument


@takes_options
def cite(
    run: Path = argument("Folder of a finished run."),
) -> None:
    """Print BibTeX of what a run rests on: models, weights, taggers, word lists, methods.

    Entries follow from the run's manifest. Datasets and concept lists are yours to cite.

    \u0008
    Example:
      conceptaudit cite runs/both > rests-on.bib
    """
    from conceptaudit.publication import cited

    say(cited(run))

"""``conceptaudit figure``: any figure of the page, for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from conceptaudit.cli.console import say


def figure(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN|CURVE...",
            help="Run folder of an audit, several of them to compare, or a curve.",
        ),
    ],
    *,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="File ending in .pdf, .svg or .png; {} in it stands for the name."
        ),
    ],
    names: Annotated[
        list[str] | None,
        typer.Option("--name", "-n", help="Figure to draw; repeat for more. All by default."),
    ] = None,
    width: Annotated[
        float, typer.Option(help="Millimetres: 84 is a column, 174 are two.", min=40, max=400)
    ] = 84.0,
) -> None:
    """Draw the figures of an audit, of several, or of a curve, for a paper.

    An audit has 'frequency', several audits 'comparison', a curve 'accuracy', 'curve', 'datasets',
    'slopes', 'predicted', 'residuals' and 'calibration'.

    \u0008
    Example:
      conceptaudit figure runs/both -o frequency.pdf
      conceptaudit figure curves/ours -n accuracy -n slopes -o 'figures/{}.pdf'
      conceptaudit figure runs/laion runs/datacomp -o compared.svg --width 174
    """
    from conceptaudit.errors import ConfigError
    from conceptaudit.report.figure_names import figures_of, named_figures
    from conceptaudit.store.outputs import output_files, staged

    figures = figures_of(inputs, width=width)
    chosen = named_figures(figures, names or ())
    if len(chosen) > 1 and "{}" not in str(out):
        raise ConfigError(
            f"-o {out} must hold {{}} for the name of the figure: there are {', '.join(chosen)}. "
            "Or choose one with --name."
        )
    places = {name: Path(str(out).replace("{}", name)) for name in chosen}
    with staged(output_files("figure", places.values())) as files:
        for name, place in places.items():
            figures[name](files[place])
    for place in places.values():
        say(f"Written to {place}")

"""``conceptaudit figure``: any figure of the page, for a paper."""

from __future__ import annotations

from pathlib import Path

from conceptaudit.cli.console import say
from conceptaudit.cli.generated import takes_options
from conceptaudit.options.fields import argument, option, optional, required


@takes_options
def figure(
    inputs: list[Path] = argument(
        "Run folder of an audit, several of them to compare, a curve, or a long-tail set.",
        metavar="RUN|CURVE|SET...",
    ),
    *,
    out: Path = required(
        "File ending in .pdf, .svg or .png; {} in it stands for the name.", flags=("-o",)
    ),
    names: list[str] | None = optional(
        "Figure to draw; repeat for more. All by default.", name="name", flags=("-n",)
    ),
    width: float = option(84.0, "Millimetres: 84 is a column, 174 are two.", within="[40, 400]"),
) -> None:
    """Draw the figures of an audit, of several, of a curve, or of a long-tail set, for a paper.

    An audit has 'frequency', several audits 'comparison', a long-tail set 'classes', a curve
    'accuracy', 'curve', 'datasets', 'slopes', 'predicted', 'residuals' and 'calibration'.

    \u0008
    Example:
      conceptaudit figure runs/both -o frequency.pdf
      conceptaudit figure curves/ours -n accuracy -n slopes -o 'figures/{}.pdf'
      conceptaudit figure runs/laion runs/datacomp -o compared.svg --width 174
    """
    from conceptaudit.errors import ConfigError
    from conceptaudit.report.figures import figures_of, named_figures
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

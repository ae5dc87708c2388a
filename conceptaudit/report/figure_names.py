"""Every figure by its name: of an audit, of several, of a curve, of a long-tail set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from conceptaudit.artifacts import MANIFEST, read_json
from conceptaudit.curves import Curve
from conceptaudit.errors import ConfigError
from conceptaudit.frequency.comparing import compare_audits
from conceptaudit.report.accuracy_chart import Classes, accuracy_chart, no_predictions
from conceptaudit.report.comparison_figure import draw_comparison
from conceptaudit.report.curve_figures import draw_curve
from conceptaudit.report.figures import frequency_chart
from conceptaudit.report.fit_figures import draw_datasets, draw_slopes
from conceptaudit.report.inputs import read_run
from conceptaudit.report.prediction_figures import draw_calibration, draw_predicted, draw_residuals
from conceptaudit.report.print_chart import COLUMN, write_chart

Draw = Callable[[Path], Path]


def figures_of(inputs: Sequence[str | Path], *, width: float = COLUMN) -> Mapping[str, Draw]:
    """List the figures of an audit (or of several), of a curve, by name.

    Parameters
    ----------
    inputs : sequence of str or Path
        A run folder, several, or the folder or file of a curve.
    width : float, default 84
        In millimetres, of the figures that the page has.

    Returns
    -------
    mapping of str to callable
        Each draws its figure to a file.

    Raises
    ------
    ConfigError, DataError
        They are none of these.
    """
    if len(inputs) > 1:
        return {"comparison": lambda path: draw_comparison(compare_audits(inputs), path)}
    [source] = (Path(one) for one in inputs)
    if source.is_dir() and (source / MANIFEST).is_file() and not (source / "curve.json").is_file():
        kind = read_json(source / MANIFEST).get("kind")
        if kind == "audit":
            run = read_run(source)
            return {"frequency": lambda path: write_chart(frequency_chart(run), path, width=width)}
        raise ConfigError(
            f"{source} is a folder of kind {kind!r}: figures are drawn of audits and curves."
        )
    return curve_figures(Curve.load(source), width=width)


def curve_figures(curve: Curve, *, width: float = COLUMN) -> dict[str, Draw]:
    """List the figures of a curve, by name."""
    from conceptaudit.curves.cross_validation import calibration_table, held_out_predictions

    def accuracy(path: Path) -> Path:
        fit = curve.fits[0]
        chart = accuracy_chart(
            "accuracy",
            Classes(fitted=curve.points_of(fit), held=no_predictions()),
            column=curve.count,
            curve=curve,
            fit=fit,
        )
        return write_chart(chart, path, width=width)

    return {
        "accuracy": accuracy,
        "curve": lambda path: draw_curve(curve, path),
        "datasets": lambda path: draw_datasets(curve, path),
        "slopes": lambda path: draw_slopes(curve, path),
        "predicted": lambda path: draw_predicted(held_out_predictions(curve), path),
        "residuals": lambda path: draw_residuals(held_out_predictions(curve), path),
        "calibration": lambda path: draw_calibration(calibration_table(curve), path),
    }


def named_figures(figures: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Check names of figures; all of them where none is named.

    Raises
    ------
    ConfigError
        There is no figure of a name.
    """
    unknown = [name for name in names if name not in figures]
    if unknown:
        raise ConfigError(
            f"There is no figure {unknown[0]!r} of this; there are {', '.join(figures)}."
        )
    return list(dict.fromkeys(names)) or list(figures)

"""Every figure by its name: of an audit, of several, of a curve, of a long-tail set."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from conceptaudit.artifacts import MANIFEST, read_json
from conceptaudit.curves import Curve
from conceptaudit.errors import ConfigError
from conceptaudit.frequency.comparing import Comparison, compare_audits
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.report.accuracy_chart import Classes, accuracy_chart, no_predictions
from conceptaudit.report.chart import Chart
from conceptaudit.report.count_charts import comparison_chart, frequency_chart, tail_chart
from conceptaudit.report.curve_figures import draw_curve
from conceptaudit.report.figure_style import shortened
from conceptaudit.report.fit_figures import draw_datasets, draw_slopes
from conceptaudit.report.inputs import read_run
from conceptaudit.report.prediction_figures import draw_calibration, draw_predicted, draw_residuals
from conceptaudit.report.print_chart import COLUMN, FULL, write_chart, write_charts

Draw = Callable[[Path], Path]

MOST_COLUMNS = 3
"""Panels of a comparison side by side."""

CURVE_SET = ("datasets", "slopes", "predicted", "residuals", "calibration")
ENDINGS = (".png", ".svg")
FILES = tuple(f"{name}{ending}" for name in CURVE_SET for ending in ENDINGS)
"""What `draw_all` writes."""


def figures_of(inputs: Sequence[str | Path], *, width: float = COLUMN) -> Mapping[str, Draw]:
    """List the figures of an audit (or of several), of a curve, of a long-tail set, by name.

    `width` is in millimetres, of the figures that a page has too.
    """
    if len(inputs) > 1:
        return {"comparison": lambda path: draw_comparison(compare_audits(inputs), path)}
    [source] = (Path(one) for one in inputs)
    if not (source / MANIFEST).is_file() or (source / "curve.json").is_file():
        return curve_figures(Curve.load(source), width=width)
    kind = read_json(source / MANIFEST).get("kind")
    if kind == "audit":
        name, chart = "frequency", frequency_chart(read_run(source))
    elif kind == "longtail":
        from conceptaudit.longtail import read_long_tail

        name, chart = "classes", tail_chart(read_long_tail(source))
    else:
        raise ConfigError(
            f"{source} is a folder of kind {kind!r}: figures are drawn of audits, curves and "
            "long-tail sets."
        )
    return {name: lambda path: write_chart(chart, path, width=width)}


def curve_figures(curve: Curve, *, width: float = COLUMN) -> dict[str, Draw]:
    """List the figures of a curve, by name."""
    from conceptaudit.curves.cross_validation import calibration_table, held_out_predictions

    return {
        "accuracy": lambda path: write_chart(_first_fit(curve), path, width=width),
        "curve": lambda path: draw_curve(curve, path),
        "datasets": lambda path: draw_datasets(curve, path),
        "slopes": lambda path: draw_slopes(curve, path),
        "predicted": lambda path: draw_predicted(held_out_predictions(curve), path),
        "residuals": lambda path: draw_residuals(held_out_predictions(curve), path),
        "calibration": lambda path: draw_calibration(calibration_table(curve), path),
    }


def _first_fit(curve: Curve) -> Chart:
    fit = curve.fits[0]
    classes = Classes(fitted=curve.points_of(fit), held=no_predictions())
    return accuracy_chart("accuracy", classes, column=curve.count, curve=curve, fit=fit)


def named_figures(figures: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Check names of figures; all of them where none is named."""
    unknown = [name for name in names if name not in figures]
    if unknown:
        raise ConfigError(
            f"There is no figure {unknown[0]!r} of this; there are {', '.join(figures)}."
        )
    return list(dict.fromkeys(names)) or list(figures)


def draw_all(curve: Curve, folder: Path, *, progress: Progress | None = None) -> tuple[str, ...]:
    """Draw each dataset, all slopes, held-out predictions, residuals and calibration.

    Predictions of held-out concepts are made from the curve, which takes seconds per model, and
    once for all figures. Returns the names of the files, `FILES`.
    """
    from conceptaudit.curves.cross_validation import calibration_table, held_out_predictions

    progress = progress or SilentProgress()
    progress.start("figures", 2 + len(ENDINGS), unit="steps")
    held = held_out_predictions(curve)
    progress.advance()
    coverage = calibration_table(curve)
    progress.advance()
    for ending in ENDINGS:
        draw_datasets(curve, folder / f"datasets{ending}")
        draw_slopes(curve, folder / f"slopes{ending}")
        draw_predicted(held, folder / f"predicted{ending}")
        draw_residuals(held, folder / f"residuals{ending}")
        draw_calibration(coverage, folder / f"calibration{ending}")
        progress.advance()
    progress.finish()
    return FILES


def draw_comparison(found: Comparison, path: Path | str) -> Path:
    """Draw a panel per count and dataset: rates against those of the baseline."""
    panels = found.concepts.groupby(["dataset", "count"], sort=False)
    charts = [
        comparison_chart(
            rows,
            shortened(str(rows["dataset"].iloc[0]), 30),
            shortened(str(rows["baseline"].iloc[0]), 30),
        )
        for _, rows in panels
    ]
    return write_charts(charts, path, columns=min(len(charts), MOST_COLUMNS), width=COLUMN * 1.4)


class Plot:
    """A figure that a notebook shows as SVG and `save` writes."""

    def __init__(self, draw: Callable[[Path], Any]) -> None:
        self._draw = draw

    def save(self, path: str | Path) -> Path:
        """Write it to a file ending in ``.pdf``, ``.svg`` or ``.png``."""
        self._draw(Path(path))
        return Path(path)

    def _repr_svg_(self) -> str:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "figure.svg"
            self._draw(path)
            return path.read_text(encoding="utf-8")


def plot_frequencies(folder: str | Path, *, width: float = FULL) -> Plot:
    """Draw the counts of an audit by rank."""
    chart = frequency_chart(read_run(folder))
    return Plot(lambda path: write_chart(chart, path, width=width))


def plot_comparison(found: Comparison) -> Plot:
    """Draw rates in one dataset against those in another."""
    return Plot(lambda path: draw_comparison(found, path))


def plot_curve(curve: Curve) -> Plot:
    """Draw accuracy against frequency."""
    return Plot(lambda path: draw_curve(curve, path))

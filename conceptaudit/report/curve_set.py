"""All figures of a curve that a paper would print, in one call."""

from pathlib import Path

from conceptaudit.curves import Curve
from conceptaudit.curves.cross_validation import calibration_table, held_out_predictions
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.report.fit_figures import draw_datasets, draw_slopes
from conceptaudit.report.prediction_figures import (
    draw_calibration,
    draw_predicted,
    draw_residuals,
)

NAMES = ("datasets", "slopes", "predicted", "residuals", "calibration")
ENDINGS = (".png", ".svg")
FILES = tuple(f"{name}{ending}" for name in NAMES for ending in ENDINGS)


def draw_all(curve: Curve, folder: Path, *, progress: Progress | None = None) -> tuple[str, ...]:
    """Draw each dataset, all slopes, held-out predictions, residuals and calibration.

    Parameters
    ----------
    curve : Curve
        Predictions of held-out concepts are made from it, which takes seconds per model.
    folder : Path
        Where `FILES` are written.
    progress : Progress, optional
        Told of the steps.

    Returns
    -------
    tuple of str
        Names of the files.

    Raises
    ------
    DataError
        The folder cannot be written to.
    """
    told = progress or SilentProgress()
    told.start("figures", 2 + len(ENDINGS), unit="steps")
    held = held_out_predictions(curve)
    told.advance()
    coverage = calibration_table(curve)
    told.advance()
    for ending in ENDINGS:
        draw_datasets(curve, folder / f"datasets{ending}")
        draw_slopes(curve, folder / f"slopes{ending}")
        draw_predicted(held, folder / f"predicted{ending}")
        draw_residuals(held, folder / f"residuals{ending}")
        draw_calibration(coverage, folder / f"calibration{ending}")
        told.advance()
    told.finish()
    return FILES

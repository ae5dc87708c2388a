"""A curve as a table: every number that the screen, the CSV file and the report show."""

from dataclasses import asdict, fields

import pandas as pd

from conceptaudit.curves.records import Curve, DatasetSlope, ModelFit


def curve_table(curve: Curve) -> pd.DataFrame:
    """Return one row per model; slopes are per decade, ``n_*`` are concepts."""
    return pd.DataFrame([_row(curve, fit) for fit in curve.fits])


def slopes_table(curve: Curve) -> pd.DataFrame:
    """Return one row per model and dataset: the line of that dataset alone, per decade."""
    columns = ["model", *(item.name for item in fields(DatasetSlope))]
    rows = [{"model": fit.label, **asdict(one)} for fit in curve.fits for one in fit.effects.slopes]
    return pd.DataFrame(rows, columns=columns)


def _row(curve: Curve, fit: ModelFit) -> dict[str, object]:
    line, effects, binned = fit.line, fit.effects, fit.binned
    return {
        "model": fit.model,
        "pretraining": fit.pretraining,
        "metric": fit.metric,
        "source": curve.source,
        "count": curve.count,
        "family": curve.family,
        "zero_policy": curve.zero_policy,
        "level": curve.level,
        "n_datasets": len(effects.slopes),
        "n_datasets_negative": effects.n_negative,
        "n_concepts": fit.usage.n_concepts,
        "n_used": fit.usage.n_used,
        "n_zero": fit.usage.n_zero,
        "n_dropped": sum(fit.usage.dropped.values()),
        "dropped": "; ".join(f"{reason}: {n}" for reason, n in fit.usage.dropped.items()),
        "slope_per_decade": line.slope,
        "slope_low": line.slope_low,
        "slope_high": line.slope_high,
        "interval_method": line.method,
        "interval_df": line.df,
        "slope_boot_low": line.boot_low,
        "slope_boot_high": line.boot_high,
        "intercept": line.intercept,
        "residual_sd": line.residual_sd,
        "r_per_concept": line.r,
        "r_low": line.r_low,
        "r_high": line.r_high,
        "rho_per_concept": line.rho,
        "interval_resamples": line.resampled,
        "slope_within": effects.slope_within,
        "slope_within_low": effects.slope_within_low,
        "slope_within_high": effects.slope_within_high,
        "slope_between": effects.slope_between,
        "p_within": effects.p_within,
        "overdispersion": fit.overdispersion,
        **_error_columns(fit),
        "r_binned": binned.r,
        "p_binned": binned.p_value,
        "r_binned_shuffled": binned.r_shuffled,
        "r_binned_shuffled_low": binned.r_shuffled_low,
        "r_binned_shuffled_high": binned.r_shuffled_high,
        "bins_kept": f"[{binned.first}:{binned.last}] of {len(binned.counts)}",
        "n_in_kept_bins": binned.n_in_kept_bins,
        "notes": " ".join(fit.notes),
    }


def _error_columns(fit: ModelFit) -> dict[str, object]:
    """Return the slope without the error of the counts; NaN where no count has an interval."""
    error, none = fit.count_error, float("nan")
    return {
        "slope_corrected": error.slope if error else none,
        "slope_corrected_low": error.slope_low if error else none,
        "slope_corrected_high": error.slope_high if error else none,
        "count_reliability": error.reliability if error else none,
    }

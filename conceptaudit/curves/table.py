"""A curve as a table: every number that the screen, the CSV file and the report show."""

import pandas as pd

from conceptaudit.curves.records import Curve, ModelFit


def curve_table(curve: Curve) -> pd.DataFrame:
    """Return one row per model; slopes are per decade, ``n_*`` are concepts."""
    return pd.DataFrame([_row(curve, fit) for fit in curve.fits])


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
        "n_concepts": fit.usage.n_concepts,
        "n_used": fit.usage.n_used,
        "n_zero": fit.usage.n_zero,
        "n_dropped": sum(fit.usage.dropped.values()),
        "dropped": "; ".join(f"{reason}: {n}" for reason, n in fit.usage.dropped.items()),
        "slope_per_decade": line.slope,
        "slope_low": line.slope_low,
        "slope_high": line.slope_high,
        "intercept": line.intercept,
        "residual_sd": line.residual_sd,
        "r_per_concept": line.r,
        "r_low": line.r_low,
        "r_high": line.r_high,
        "rho_per_concept": line.rho,
        "interval_resamples": line.resampled,
        "slope_within": effects.slope_within,
        "slope_between": effects.slope_between,
        "p_within": effects.p_within,
        "r_binned": binned.r,
        "p_binned": binned.p_value,
        "r_binned_shuffled": binned.r_shuffled,
        "r_binned_shuffled_low": binned.r_shuffled_low,
        "r_binned_shuffled_high": binned.r_shuffled_high,
        "bins_kept": f"[{binned.first}:{binned.last}] of {len(binned.counts)}",
        "n_in_kept_bins": binned.n_in_kept_bins,
        "notes": " ".join(fit.notes),
    }

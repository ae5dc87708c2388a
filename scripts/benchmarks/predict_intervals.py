"""The parts of bench_predict.py that measure intervals, left-out datasets and speed."""

import time

import numpy as np
import pandas as pd
from predict_models import PLAIN, Model, averaged

from conceptaudit.curves.class_names import class_names
from conceptaudit.curves.cross_validation import cross_predict
from conceptaudit.curves.known_results import Known
from conceptaudit.curves.model_predictor import ModelPredictor, Queries
from conceptaudit.curves.predicting import expectations

LEVEL = 0.9
N_DRAWS = 4
"""Draws of labelled classes per left-out dataset."""


def intervals(models: list[Model], splits: int) -> dict[str, object]:
    """Coverage and width of 90 % intervals on held-out concepts, overall and per dataset."""
    parts = []
    for model in models:
        for split in range(splits):
            estimator = model.estimator(PLAIN)
            found = cross_predict(
                model.rows, model.class_names, estimator, [LEVEL], n_folds=10, seed=split
            )
            _, low, high = found[0]
            y = model.rows.y
            parts.append(
                pd.DataFrame(
                    {
                        "model": model.label,
                        "split": split,
                        "dataset": np.array(model.rows.datasets)[model.rows.dataset],
                        "covered": (low <= y) & (y <= high),
                        "width": 100 * (high - low),
                    }
                )
            )
    table = pd.concat(parts)
    per = table.groupby("dataset").agg(
        n=("covered", lambda v: len(v) // (len(models) * splits)),
        coverage=("covered", "mean"),
        width=("width", "mean"),
    )
    # Splits share their concepts; the error is that of splits, concepts taken as they are.
    by_split = table.pivot_table(index="dataset", columns="split", values="covered", aggfunc="mean")
    per["split_error"] = by_split.std(axis=1) / np.sqrt(splits) if splits > 1 else np.nan
    overall = {
        "coverage": float(table["covered"].mean()),
        "width": float(table["width"].mean()),
        "worst": float(per["coverage"].min()),
        "worst_dataset": str(per["coverage"].idxmin()),
        "worst_split_error": float(per.loc[per["coverage"].idxmin(), "split_error"]),
    }
    print(f"\n90 % intervals, held-out concepts\n{per.round(3).to_string()}\n{overall}", flush=True)
    by_model = table.groupby("model")[["covered", "width"]].mean()
    print(by_model.round(3).to_string(), flush=True)
    return overall


def datasets(models: list[Model]) -> dict[str, dict[str, float]]:
    """Leave one dataset out: points and intervals, without anchors and with them."""
    records = []
    rng = np.random.default_rng(0)
    for model in models:
        found: dict[str, list[pd.DataFrame]] = {}
        for position in range(len(model.rows.datasets)):
            for what, rows in _left_out(model, position, rng).items():
                found.setdefault(what, []).append(rows)
        for what, parts in found.items():
            table = pd.concat(parts)
            weight = 1.0 / table.groupby("dataset")["error"].transform("size") * table["n"]
            weight /= weight.sum()
            records.append(
                {
                    "what": what,
                    "model": model.label,
                    "split": 0,
                    "MAE": float(100 * (weight * table["error"].abs()).sum()),
                    "R2": float(1 - (weight * table["error"] ** 2).sum() / model.rows.y.var()),
                    "macro coverage": float(table.groupby("dataset")["covered"].mean().mean()),
                    "worst coverage": float(table.groupby("dataset")["covered"].mean().min()),
                    "width": float(100 * table.groupby("dataset")["width"].mean().mean()),
                }
            )
    return averaged(records, "Leave one dataset out (macro over datasets for coverage and width)")


def _left_out(model: Model, position: int, rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    rows = model.rows
    out = rows.dataset == position
    y = rows.y[out]
    n = len(y)
    queries = Queries(
        counts=rows.x[out],
        x=rows.x[out],
        concepts=[""] * n,
        dataset=np.full(n, -1, dtype=np.intp),
        group=np.full(n, -1, dtype=np.intp),
        names={},
    )
    # As the package would see it: names of the left-out dataset among themselves.
    queried = model.class_names.take(out)

    def ready(family: str, *, names: bool = True) -> ModelPredictor:
        return ModelPredictor(
            rows=rows.take(~out),
            names=model.class_names.take(~out),
            queried=queried,
            estimator=model.estimator(family, use_names=names),
        )

    nothing = np.zeros(0, dtype=np.intp), np.zeros(0)

    def judged(
        prepared: ModelPredictor, known: Known | None, kept: np.ndarray | None = None
    ) -> pd.DataFrame:
        expected, low, high, _ = expectations(prepared, queries, np.arange(n), LEVEL, known)
        chosen = np.arange(n) if kept is None else kept
        table = pd.DataFrame(
            {
                "dataset": position,
                "n": n,
                "error": expected - y,
                "covered": (low <= y) & (y <= high),
                "width": high - low,
            }
        )
        return table.iloc[chosen]

    default, plain = ready(PLAIN), ready(PLAIN, names=False)
    mean = Known(mean=float(y.mean()), labelled=nothing[0], accuracy=nothing[1], shift=0.0)
    result = {
        "paper's line": judged(ready("paper", names=False), None),
        "partial pooling, no names": judged(plain, None),
        "default (partial pooling + names)": judged(default, None),
        "default, its mean known": judged(default, mean),
    }
    for k in (10, 20):
        parts, flat = [], []
        for _ in range(N_DRAWS):
            drawn = rng.permutation(n)
            few = min(k, n - 2)
            known = Known(mean=None, labelled=drawn[:few], accuracy=y[drawn[:few]], shift=0.0)
            parts.append(judged(default, known, drawn[few:]))
            error = y[drawn[:few]].mean() - y[drawn[few:]]
            flat.append(parts[-1].assign(error=error, covered=np.nan, width=np.nan))
        result[f"default, {k} labelled classes"] = pd.concat(parts)
        result[f"mean of {k} labelled classes"] = pd.concat(flat)
    return result


def speed(model: Model) -> dict[str, float]:
    """Seconds to predict 100,000 concepts of known and of new datasets, everything included."""
    rng = np.random.default_rng(0)
    n = 100_000
    found = {}
    for what, first in (("known", 0), ("new", len(model.rows.datasets))):
        group = rng.integers(first, first + 14, n)
        queries = Queries(
            counts=np.zeros(n),
            x=rng.uniform(0, 4, n),
            concepts=[],
            dataset=np.where(group < len(model.rows.datasets), group, -1),
            group=group,
            names={},
        )
        names = [f"{model.names[i % len(model.names)]} {i % 97}" for i in range(n)]
        start = time.perf_counter()
        both = class_names([*model.names, *names], np.concatenate([model.rows.dataset, group]))
        size = len(model.rows)
        prepared = ModelPredictor(
            rows=model.rows,
            names=both.take(slice(size)),
            queried=both.take(slice(size, None)),
            estimator=model.estimator(PLAIN),
        )
        for position in np.unique(group):
            members = np.flatnonzero(group == position)
            expectations(prepared, queries, members, LEVEL, None)
        found[f"seconds_100k_{what}"] = time.perf_counter() - start
    print(f"\n{found}")
    return found

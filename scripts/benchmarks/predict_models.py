"""Models with published counts and accuracies, for `bench_predict.py.py`."""

from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.curves.binned import recipe_for
from conceptaudit.curves.class_names import class_names
from conceptaudit.curves.families import Estimator, family_named
from conceptaudit.curves.fit_data import FitData, fit_data_of
from conceptaudit.frequency.readers import read_frequencies
from conceptaudit.names import normalise_name
from conceptaudit.zeroshot.readers import read_accuracies

PRETRAININGS = ("cc3m", "cc12m", "yfcc15m", "synthci30m", "laion400m")
PLAIN = "partial-pooling"


class Model:
    """One model's rows, with what a bench needs beside them."""

    def __init__(self, table: pd.DataFrame, label: str) -> None:
        self.table, self.label = table.reset_index(drop=True), label
        self.rows: FitData = fit_data_of(self.table, "log1p")
        self.names = self.table["concept"].tolist()
        self.class_names = class_names(self.names, self.rows.dataset)
        self.features = self.class_names.rivals

    def estimator(self, family: str, *, use_names: bool = True) -> Estimator:
        """Return how to fit a family to these rows."""
        recipe = recipe_for(self.label.split("/")[0], "accuracy_ensemble")
        return Estimator(family=family_named(family), recipe=recipe, seed=0, use_names=use_names)

    def score(self, predicted: np.ndarray, members: np.ndarray | None = None) -> dict[str, float]:
        """MAE in points and R² (against all accuracies of the model)."""
        y = self.rows.y
        chosen = np.ones(len(y), dtype=bool) if members is None else members
        error = np.clip(predicted, 0, 1)[chosen] - y[chosen]
        return {"MAE": 100 * np.abs(error).mean(), "R2": 1 - (error**2).mean() / y.var()}


def load(data: Path) -> tuple[list[Model], pd.DataFrame]:
    """Join counts and accuracies; also all models' accuracies, a column each."""
    table = read_accuracies(data / "zero_shot_evaluations" / "*_ensemble_results.json").table
    table = table.assign(
        key=[
            (d, normalise_name(c)) for d, c in zip(table["dataset"], table["concept"], strict=True)
        ],
        label=table["pretraining"] + "/" + table["model"],
    )
    wide = table.pivot_table(index="key", columns="label", values="accuracy", aggfunc="first")
    models = []
    for pretraining in PRETRAININGS:
        counts = read_frequencies(data / "search_counts", pretraining=pretraining).table
        counts = counts[counts["n_joint"].notna()]
        keys = [
            (d, normalise_name(c))
            for d, c in zip(counts["dataset"], counts["concept"], strict=True)
        ]
        counts = counts.assign(key=keys).drop_duplicates("key").drop(columns=["dataset", "concept"])
        mine = table[table["pretraining"] == pretraining].drop_duplicates(["label", "key"])
        joined = mine.merge(counts, on="key")
        # One dataset was counted jointly for one pretraining set only: left out for all.
        joined = joined[joined["dataset"] != "imagenet-r"]
        joined["count"] = joined["n_joint"].astype("float64")
        models += [Model(group, label) for label, group in joined.groupby("label", sort=True)]
    return models, wide


def averaged(records: list[dict[str, object]], title: str) -> dict[str, dict[str, float]]:
    """Print means over models and splits; the spread is the standard error over splits."""
    table = pd.DataFrame(records)
    mean = table.drop(columns=["model", "split"]).groupby("what", sort=False).mean()
    print(f"\n{title}\n{mean.round(3).to_string()}", flush=True)
    return {str(k): v for k, v in mean.round(4).to_dict("index").items()}

"""How well accuracy is predicted on the published counts and accuracies, beside baselines.

    python scripts/benchmarks/bench_predict.py --data REFERENCE
    python scripts/benchmarks/bench_predict.py --data REFERENCE --parts points,features

Ensemble prompts, joint counts, every model whose pretraining set was counted. Concepts are held out
in folds by name (a name is in one fold, whatever its dataset), or whole datasets are held out.
Figures are means over models. Ends with one JSON line.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from predict_intervals import datasets, intervals, speed
from predict_models import PLAIN, Model, averaged, load

from conceptaudit.curves.folds import concept_folds, dataset_folds
from conceptaudit.curves.model_predictor import ModelPredictor
from conceptaudit.curves.point_model import fit_point_model
from conceptaudit.curves.transfer import held_out_transfer
from conceptaudit.names import normalise_name
from conceptaudit.zeroshot.readers import read_accuracies

PARTS = ("points", "features", "meaning", "transfer", "datasets", "intervals", "speed")

Predictor = Callable[[Model, np.ndarray, np.ndarray], np.ndarray]


def dataset_mean(model: Model, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Mean accuracy of the dataset's other concepts."""
    rows = model.rows
    means = pd.Series(rows.y[train]).groupby(rows.dataset[train]).mean()
    return means.reindex(rows.dataset[test]).fillna(rows.y[train].mean()).to_numpy()


def fixed_slope(model: Model, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Fit an intercept per dataset and one slope, by least squares."""
    rows = model.rows
    design = np.column_stack([np.eye(len(rows.datasets))[rows.dataset], rows.x])
    found = np.linalg.lstsq(design[train], rows.y[train], rcond=None)[0]
    return design[test] @ found


def boosting(columns: tuple[str, ...], *, names: bool) -> Predictor:
    """Gradient boosting on counts, the dataset and perhaps name features."""

    def predict(model: Model, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        from sklearn.ensemble import HistGradientBoostingRegressor

        counts = np.log10(1 + model.table[list(columns)].astype("float64").to_numpy())
        inputs = np.column_stack([model.rows.dataset, counts])
        if names:
            inputs = np.column_stack([inputs, model.features])
        fitted = HistGradientBoostingRegressor(
            max_iter=150, learning_rate=0.05, max_leaf_nodes=8, min_samples_leaf=20,
            l2_regularization=5.0, categorical_features=[0], random_state=0,
        )  # fmt: skip
        return fitted.fit(inputs[train], model.rows.y[train]).predict(inputs[test])

    return predict


def family(name: str, *, names: bool) -> Predictor:
    """One of the package's families, with names among their rivals or without."""

    def predict(model: Model, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        estimator, rows = model.estimator(name, use_names=names), model.rows
        fitted = fit_point_model(estimator, rows.take(train), model.class_names.take(train))
        return fitted.at(rows.x[test], rows.dataset[test], model.class_names.take(test))

    return predict


def held_out(model: Model, predictor: Predictor, seed: int) -> np.ndarray:
    """Predict every row from the other nine folds."""
    found = np.full(len(model.rows), np.nan)
    for train, test in concept_folds(model.rows.concept, seed, 10):
        found[test] = predictor(model, train, test)
    return found


def points(models: list[Model], splits: int) -> dict[str, dict[str, float]]:
    """Held-out concepts: baselines and the package's families."""
    every: dict[str, Predictor] = {
        "paper's line": family("paper", names=False),
        "dataset mean": dataset_mean,
        "dataset intercept + slope": fixed_slope,
        "gradient boosting + dataset": boosting(("n_joint",), names=False),
        "gradient boosting + dataset + names": boosting(("n_joint",), names=True),
        "gradient boosting, everything": boosting(("n_joint", "n_text", "n_image"), names=True),
    }
    for name in ("loglinear", PLAIN):
        every[f"family {name}"] = family(name, names=False)
        every[f"family {name} + names"] = family(name, names=True)
    return _over_splits(models, every, splits, "Held-out concepts")


def _over_splits(
    models: list[Model], every: dict[str, Predictor], splits: int, title: str
) -> dict[str, dict[str, float]]:
    records = [
        {"what": what, "model": m.label, "split": s, **m.score(held_out(m, predictor, s))}
        for what, predictor in every.items()
        for s in range(splits)
        for m in models
    ]
    return averaged(records, title)


def features(models: list[Model], splits: int) -> dict[str, dict[str, float]]:
    """Measure what each feature adds to the default family."""
    from conceptaudit.curves.class_names import FEATURES

    def ridge(pick: Callable[[Model], np.ndarray]) -> Predictor:
        def predict(model: Model, train: np.ndarray, test: np.ndarray) -> np.ndarray:
            rows, names = model.rows, replace(model.class_names, rivals=pick(model))
            fitted = model.estimator(PLAIN).fit(rows.take(train), names.take(train))
            return fitted.at(rows.x[test], rows.dataset[test], names.take(test))

        return predict

    def counts(model: Model, *columns: str) -> np.ndarray:
        values = np.log10(1 + model.table[list(columns)].astype("float64")).fillna(0.0)
        groups = model.table["dataset"]
        return (values - values.groupby(groups).transform("mean")).to_numpy()

    def alignment(model: Model) -> np.ndarray:
        return counts(model, "n_joint") - counts(model, "n_text")

    every = {"frequency alone": family(PLAIN, names=False)}
    for index, name in enumerate(FEATURES):
        every[f"+ {name}"] = ridge(lambda m, i=index: m.features[:, [i]])
    every["+ all names"] = ridge(lambda m: m.features)
    every["+ image count"] = ridge(lambda m: counts(m, "n_image"))
    every["+ text count"] = ridge(lambda m: counts(m, "n_text"))
    every["+ alignment n_joint / n_text"] = ridge(alignment)
    every["+ all names, image and text count"] = ridge(
        lambda m: np.column_stack([m.features, counts(m, "n_image", "n_text")])
    )
    return _over_splits(models, every, splits, "Features beside frequency")


def meaning(models: list[Model]) -> dict[str, dict[str, float]]:
    """Measure what the default explains of held-out concepts and datasets, step by step."""
    records = []
    for model in models:
        prepared = ModelPredictor(
            rows=model.rows,
            names=model.class_names,
            queried=model.class_names.take(slice(0)),
            estimator=model.estimator(PLAIN),
        )
        for what, found in (("concepts", prepared.by_concept), ("datasets", prepared.by_dataset)):
            steps = dict(zip(("frequency", "names", "meaning"), found.explained, strict=True))
            records.append({"what": what, "model": model.label, "split": 0, **steps})
            print(model.label, what, {k: round(v, 3) for k, v in steps.items()}, flush=True)
    return averaged(records, "R² of held-out concepts and datasets: frequency, names, meaning")


def transfers(
    models: list[Model], counted: list[str], wide: pd.DataFrame, splits: int
) -> dict[str, dict[str, float]]:
    """Predict from other models' results on the same classes, alone and with frequency."""
    records = []
    for model in models:
        rows, keys = model.rows, model.table["key"].tolist()
        same = [x for x in counted if x.split("/")[0] == model.label.split("/")[0]]
        others = {
            "one sibling, as it is": [x for x in same if x != model.label][:1],
            "one sibling": [x for x in same if x != model.label][:1],
            "one sibling + frequency": [x for x in same if x != model.label][:1],
            "all counted models + frequency": [x for x in counted if x != model.label],
            "all models + frequency": [x for x in wide if x != model.label],
        }
        for what, labels in others.items():
            if not labels:
                continue
            values = wide.loc[keys, labels].to_numpy()
            if "frequency" in what:
                values = np.column_stack([values, rows.x])
            for split in range(splits):
                folds = list(concept_folds(rows.concept, split, 10))
                held = held_out_transfer(
                    values, rows.y, rows.dataset, rows.concept, folds, new=False
                )
                predicted = values[:, 0] if "as it is" in what else held.centre
                records.append(
                    {"what": what, "model": model.label, "split": split, **model.score(predicted)}
                )
    return averaged(records, "Transfer: held-out concepts, other models' results known")


def new_sets(models: list[Model], wide: pd.DataFrame) -> dict[str, object]:
    """Predict whole sets from other models' results, none of the model's own there known."""
    explained, errors = {}, []
    for model in models:
        rows = model.rows
        others = wide.loc[model.table["key"].tolist()].drop(columns=model.label)
        values = np.column_stack([others.to_numpy(), rows.x])
        splits = dataset_folds(rows.dataset)
        held = held_out_transfer(values, rows.y, rows.dataset, rows.concept, splits, new=True)
        explained[model.label] = float(1 - np.mean(held.residual**2) / rows.y.var())
        errors.append(
            pd.Series(held.residual).groupby(np.array(rows.datasets)[rows.dataset]).mean()
        )
    bias = pd.concat(errors, axis=1).mean(axis=1)
    print(f"\nTransfer to new sets: R2\n{pd.Series(explained).round(3).to_string()}")
    print(f"mean error by set, over models\n{bias.round(4).to_string()}")
    return {"R2": float(np.mean(list(explained.values()))), "largest_bias": float(bias.abs().max())}


def noise(models: list[Model], data: Path) -> dict[str, float]:
    """Measure the best that could be reached: binomial noise of the published class sizes."""
    table = read_accuracies(data / "zero_shot_evaluations" / "*_results.json").table
    sizes = {}
    for key, group in table.groupby(["dataset", "concept"]):
        values = group["accuracy"].to_numpy()
        # The smallest number of images that gives whole numbers of correct ones for all models.
        sizes[key[0], normalise_name(key[1])] = next(
            (
                n
                for n in range(1, 2000)
                if np.abs(values * n - np.round(values * n)).max() < 2e-5 * n
            ),
            2000,
        )
    found = []
    for model in models:
        y, n = model.rows.y, np.array([sizes[key] for key in model.table["key"]])
        sd = np.sqrt(y * (1 - y) / n)
        found.append((100 * np.sqrt(2 / np.pi) * sd.mean(), 1 - (sd**2).mean() / y.var()))
    mae, r2 = np.mean(found, axis=0)
    print(f"\nNoise of the class sizes: MAE {mae:.1f}, R2 {r2:.3f}")
    return {"MAE": float(mae), "R2": float(r2)}


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data/reference"))
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--splits", type=int, default=1, help="repetitions of the folds")
    parser.add_argument("--models", help="labels such as cc3m/RN50, separated by commas")
    given = parser.parse_args()
    models, wide = load(given.data)
    counted = [m.label for m in models]
    wanted = given.models.split(",") if given.models else counted
    models = [m for m in models if m.label in wanted]
    rows = models[0].rows
    print(f"{len(models)} models, {len(rows):,} concepts, {len(rows.datasets)} datasets")
    parts, result = given.parts.split(","), {}
    if "points" in parts:
        result["noise"] = noise(models, given.data)
        result["points"] = points(models, given.splits)
    if "features" in parts:
        result["features"] = features(models, given.splits)
    if "meaning" in parts:
        result["meaning"] = meaning(models)
    if "transfer" in parts:
        result["transfer"] = transfers(models, counted, wide, given.splits)
        result["new sets"] = new_sets(models, wide)
    if "datasets" in parts:
        result["datasets"] = datasets(models)
    if "intervals" in parts:
        result["intervals"] = intervals(models, given.splits)
    if "speed" in parts:
        result["speed"] = speed(models[0])
    print(json.dumps({"bench": "predict", "models": len(models), "splits": given.splits, **result}))


if __name__ == "__main__":
    main()

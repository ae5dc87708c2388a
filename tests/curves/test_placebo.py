"""``fit --placebo``: supervised ImageNet models against web counts."""

import json

import numpy as np
import pandas as pd

from conceptaudit.cli.main import main
from conceptaudit.curves.reference import reference_accuracies
from conceptaudit.frequency.reference import reference_frequencies


def test_supervised_models_on_web_counts(realdata, tmp_path, capsys) -> None:
    """Slopes as least squares gives them: frequent names are no easier, rather harder."""
    given = pd.read_csv(realdata / "reference" / "imagenet_val_correct_by_class.csv")
    names = pd.read_csv(realdata / "clip" / "imagenet_text_vectors" / "classes.csv")
    given["concept"] = given["class_index"].map(names.set_index("class_index")["concept"])
    supervised = given[~given["model"].str.startswith("clip")].dropna(subset=["concept"])
    assert supervised["model"].nunique() == 3
    placebo, own = tmp_path / "placebo.csv", tmp_path / "own.csv"
    supervised[["model", "dataset", "concept", "n_correct", "n_images"]].to_csv(placebo)
    table = reference_accuracies("laion400m").table
    table = table[table["dataset"].eq("imagenet") & table["model"].eq("ViT-B-32")]
    table[["model", "pretraining", "dataset", "concept", "accuracy"]].to_csv(own)
    call = ["fit", "reference:laion400m", "-a", str(own), "--placebo", str(placebo)]
    assert main([*call, "-o", str(tmp_path / "curve"), "--json"]) == 0
    found = pd.DataFrame(json.loads(capsys.readouterr().out)["placebo"])
    assert len(found) == 3
    counts = reference_frequencies("laion400m").table
    counts = counts[counts["dataset"] == "imagenet"].set_index("concept")["n_text"]
    for model, scores in supervised.groupby("model"):
        rows = scores[scores["concept"].isin(counts.index)]
        x = np.log10(1 + counts.reindex(rows["concept"]).to_numpy(np.float64))
        slope = np.polyfit(x, rows["n_correct"] / rows["n_images"], 1)[0]
        mine = found[found["model"].str.startswith(model)]
        assert abs(float(mine["slope"].iloc[0]) - slope) < 1e-3
        assert slope < 0

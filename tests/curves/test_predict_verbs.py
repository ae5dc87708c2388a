"""``predict`` with anchors, transfer and published curves, and ``plan``, from the command line."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conceptaudit.cli.main import main
from conceptaudit.cli.predict import text_encoder
from conceptaudit.curves.class_names import class_names
from conceptaudit.curves.reference import reference_accuracies
from conceptaudit.frequency.reference import reference_frequencies


@pytest.fixture(scope="module")
def files(tmp_path_factory, quick_module):
    """A part of the published numbers as a user's files: three sets, one of them not evaluated."""
    folder = tmp_path_factory.mktemp("world")
    sets = ["cifar100", "food101", "dtd", "caltech101"]
    counts = reference_frequencies("cc12m/paper").table
    counts = counts[counts["dataset"].isin(sets)]
    counts[["dataset", "concept", "n_joint"]].to_csv(folder / "counts.csv", index=False)
    scores = reference_accuracies().table.drop(columns=["n_correct", "n_images"])
    scores = scores[scores["dataset"].isin(sets)]
    mine = scores[(scores["model"] == "RN50") & (scores["pretraining"] == "cc12m")]
    mine[mine["dataset"] != "food101"].to_csv(folder / "accuracies.csv", index=False)
    mine[mine["dataset"] == "food101"].head(10).to_csv(folder / "ten.csv", index=False)
    scores[scores["pretraining"].isin(["cc3m", "yfcc15m"])].to_csv(
        folder / "others.csv", index=False
    )
    command = ["fit", str(folder / "counts.csv"), "-a", str(folder / "accuracies.csv")]
    assert main([*command, "-o", str(folder / "curve")]) == 0
    return folder, mine[mine["dataset"] == "food101"].set_index("concept")["accuracy"]


@pytest.fixture
def world(files, monkeypatch):
    """What was measured on the set that is predicted, in the folder of the files."""
    folder, measured = files
    monkeypatch.chdir(folder)
    return measured


def predictions(*options):
    assert main(["predict", "curve", "-f", "counts.csv", *options, "-o", "out.csv"]) == 0
    table = pd.read_csv("out.csv")
    return table[table["dataset"] == "food101"].set_index("concept")


def test_predict_with_what_is_known(world, capsys):
    plain = predictions()
    error = {"nothing": np.abs(plain["accuracy"] - world).mean()}
    assert (plain["level"] == 0.9).all()
    for what, options in {
        "mean": ["--mean", f"food101={world.mean()}"],
        "labels": ["--labelled", "ten.csv"],
        "models": ["--from-models", "others.csv"],
    }.items():
        found = predictions(*options)
        error[what] = np.abs(found["accuracy"] - world).mean()
        assert (found["basis"] != plain["basis"]).all()
    assert max(error["mean"], error["models"]) < error["nothing"]
    assert "flatters it" in capsys.readouterr().out


def test_predict_from_published_curves(world, capsys):
    command = ["predict", "reference", "-f", "counts.csv", "--pretraining", "synthci30m", "--json"]
    capsys.readouterr()
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert {row["pretraining"] for row in found["predictions"]} == {"synthci30m"}
    assert any("as asked for" in note for note in found["notes"])


def test_class_names_are_encoded_by_the_models_own_text_tower(world, tiny_clip, capsys):
    """From the folder of a model to intervals, and to the classes that are near by its vectors."""
    plain, found = predictions(), predictions("--clip", str(tiny_clip))
    assert found["accuracy"].between(0, 1).all()
    assert ((found["low"] <= found["accuracy"]) & (found["accuracy"] <= found["high"])).all()
    assert set(found.index) == set(plain.index)
    assert "near" in capsys.readouterr().out
    encode = text_encoder(str(tiny_clip))
    known = class_names(["dog", "cat", "airplane"], np.zeros(3, dtype=int), encode)
    assert np.linalg.norm(known.vectors, axis=1) == pytest.approx(1)
    assert encode(["dog"]) == pytest.approx(encode(["cat", "dog"])[1:], abs=1e-5)


def test_plan_writes_and_prints(world, capsys):
    command = ["plan", "curve", "-f", "counts.csv", "--target", "0.6", "--cost-per-example", "0.1"]
    assert main([*command, "-o", "plan.csv", "--steps", "steps.csv"]) == 0
    shown = capsys.readouterr().out
    assert "not reachable by frequency alone" in shown
    table = pd.read_csv("plan.csv")
    reachable = table[table["status"] == "reachable"]
    assert reachable["order"].tolist() == list(range(1, len(reachable) + 1))
    assert pd.read_csv("steps.csv")["cumulative_gain"].is_monotonic_increasing
    assert main([*command, "--json"]) == 0
    shown = capsys.readouterr().out
    assert np.isinf(table["examples_high"]).any()  # which JSON cannot say
    assert "Infinity" not in shown
    found = json.loads(shown)
    assert found["summary"][0]["reachable"] == len(reachable)


MISTAKES = [
    (["predict", "curve", "-f", "counts.csv", "--mean", "food101"], "pets=0.81"),
    (["predict", "curve", "-f", "counts.csv", "--mean", "pets=0.5"], "Got 'pets'"),
    (["predict", "curve", "-f", "counts.csv", "--mean", "dtd=50"], "divide per cent"),
    (["predict", "curve", "-f", "counts.csv", "--imagenet", "0.5"], "ImageNet"),
    (["predict", "curve", "-f", "counts.csv", "--level", "90"], "--level"),
    (["predict", "curve", "-f", "counts.csv", "--rescale"], "'reference'"),
    (
        [
            "predict",
            "curve",
            "-f",
            "counts.csv",
            "--from-models",
            "others.csv",
            "--mean",
            "dtd=1",
        ],
        "--from-models",
    ),
    (["predict", "old.json", "-f", "counts.csv"], "schema version"),
    (["predict", "curve", "-f", "text.csv"], "fitted on n_joint"),
    (["predict", "reference", "-f", "text.csv"], "Fewer than 20"),
    (["plan", "curve", "-f", "counts.csv", "--target", "80"], "--target"),
    (["plan", "curve", "-f", "text.csv", "--target", "0.8"], "fitted on n_joint"),
]


def test_a_users_mistake_is_one_message(world, capsys):
    content = json.loads(Path("curve/curve.json").read_text())
    Path("old.json").write_text(json.dumps({**content, "schema_version": 0}))
    Path("text.csv").write_text("concept,n_text\nglorp,3\n")
    for arguments, message in MISTAKES:
        capsys.readouterr()
        assert main(arguments) == 2, arguments
        error = capsys.readouterr().err
        assert message in error
        assert "Traceback" not in error

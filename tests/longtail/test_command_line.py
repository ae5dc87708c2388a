"""``conceptaudit longtail`` from start to end: pools, workers, the round trip of a review."""

import json

import pandas as pd
import pytest
import typer

from conceptaudit.cli import longtail as cli
from conceptaudit.errors import ConfigError, DataError


@pytest.fixture
def longtail(run, encoder, plain_pool, monkeypatch, tmp_path):
    """Call the verb with the colour encoder; returns nothing."""
    monkeypatch.setattr("conceptaudit.longtail.embedding.find_clip", lambda name, device: encoder)
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(cli.longtail)

    def call(*words, out="out"):
        fixed = [str(run), "--images", str(plain_pool), "-o", str(tmp_path / out), "--k", "3"]
        app([*fixed, "--per-class", "4", *map(str, words)], standalone_mode=False)

    return call


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_a_review_makes_the_round_trip(longtail, tmp_path, capsys, ending):
    judge = tmp_path / f"judge.{ending}"
    longtail("--review-out", judge)
    first = pd.read_csv(tmp_path / "out" / "manifest.csv")
    rows = pd.read_csv(judge) if ending == "csv" else pd.DataFrame(json.loads(judge.read_text()))
    assert set(rows["key"]) == set(first["key"])
    blue = rows["concept"] == "blue"
    rows["verdict"] = "right"
    wrong = rows["key"][blue].iloc[0]
    rows.loc[rows["key"] == wrong, "verdict"] = "wrong"
    if ending == "csv":
        rows.to_csv(judge, index=False)
    else:
        judge.write_text(json.dumps(rows.to_dict("records")))
    capsys.readouterr()
    longtail("--review-in", judge, "--json", out="judged")
    told = json.loads(capsys.readouterr().out)
    assert told["removed"]["judged_wrong"] == 1
    second = pd.read_csv(tmp_path / "judged" / "manifest.csv")
    assert wrong not in set(second["key"])
    assert len(second) == len(first)  # the next best took its place
    classes = {one["concept"]: one for one in told["classes"]}
    assert classes["blue"]["n_judged"] == 4
    assert classes["blue"]["purity"] == 0.75
    assert classes["blue"]["purity_low"] < 0.75 < classes["blue"]["purity_high"]
    assert classes["green"]["purity"] == 1.0


def test_an_output_folder_in_use_is_refused(longtail, tmp_path):
    from conceptaudit.artifacts import exclusive
    from conceptaudit.errors import ArtifactMismatchError

    with exclusive(tmp_path / ".out.building"), pytest.raises(ArtifactMismatchError, match="-o"):
        longtail()
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ArtifactMismatchError, match="is a file"):
        longtail(out="file")
    assert (tmp_path / "file").read_text() == "mine"


def test_options_that_contradict_each_other_are_told(longtail, tmp_path):
    with pytest.raises(ConfigError, match="--rank examples"):
        longtail("--rank", "examples")
    with pytest.raises(ConfigError, match="--index is for a pool of embeddings"):
        longtail("--index", tmp_path / "none")
    with pytest.raises(DataError, match="Cannot read the examples"):
        longtail("--rank", "both", "--examples", tmp_path / "none.csv")


def test_no_image_reaches_a_concept(longtail, tmp_path):
    with pytest.raises(DataError, match="No concept has the 1 images"):
        longtail("--min-score", "1")
    longtail("--min-margin", "0.1", "--pin", "yellow", "--min-score", "0.5")
    classes = pd.read_csv(tmp_path / "out" / "classes.csv").set_index("concept")
    assert not classes.loc["yellow", "included"]
    assert classes.loc["yellow", "n_missing"] == 4

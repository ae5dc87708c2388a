"""What venues ask for: Croissant metadata that its own reader takes, and BibTeX."""

import json
import re
from pathlib import Path

import mlcroissant
import pandas as pd
import pytest

from conceptaudit.cli.main import main
from conceptaudit.lab import LabConfig, generate
from conceptaudit.longtail.set_storage import read_long_tail
from conceptaudit.publication import _REFERENCE_COUNTS, _WEIGHTS, cited, references

# of the library that mlcroissant reads JSON-LD with
pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph:DeprecationWarning")

CONFIG = LabConfig(n_samples=60, shard_size=60, image_size=48, seed=5, n_concepts=8)
KINDS = ("audit", "longtail", "curate")
FOODS = ("apple pie", "baklava", "beef tartare", "ceviche", "donuts", "edamame")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An audit, a long-tail set and a curated set, each with its metadata."""
    place = tmp_path_factory.mktemp("venues")
    generate(CONFIG, place / "lab")
    generate(LabConfig(**{**_knobs(), "seed": 6}), place / "pool")
    truth = pd.read_parquet(place / "lab" / "truth.parquet")
    names = sorted({name for names in truth["joint"] for name in names})
    (place / "concepts.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    calls = {
        "audit": ["audit", "lab", "-c", "concepts.txt", "--clip", "lab", "-o", "audit-run"],
        "longtail": [
            *("longtail", "audit-run", "--images", "pool", "-o", "longtail-run"),
            *("--k", "2", "--min-per-class", "1"),
        ],
        "curate": ["curate", "audit-run", "--size", "20", "-o", "curate-run"],
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for kind, call in calls.items():
            more = ["--engine", "serial", "--croissant", f"{kind}.json"]
            assert main([*call, *more]) == 0
    return place


def _knobs() -> dict[str, int]:
    return {"n_samples": 60, "shard_size": 60, "image_size": 48, "n_concepts": 8}


@pytest.mark.parametrize("kind", KINDS)
def test_croissant_is_valid_and_reads(kind, folder):
    path = folder / f"{kind}.json"
    dataset = mlcroissant.Dataset(jsonld=str(path))
    metadata = dataset.metadata
    assert not metadata.ctx.issues.errors
    assert not metadata.ctx.issues.warnings
    record = json.loads(path.read_text(encoding="utf-8"))
    assert "http://mlcommons.org/croissant/1.0" in record["conformsTo"]
    for field in ("dataCollection", "dataPreprocessingProtocol", "dataLimitations", "dataUseCases"):
        assert record[f"rai:{field}"]
    for one in record["distribution"]:
        assert (folder / one["contentUrl"]).is_file()
        assert re.fullmatch("[0-9a-f]{64}", one["sha256"])


def test_records_are_those_of_the_table(folder):
    dataset = mlcroissant.Dataset(jsonld=str(folder / "audit.json"))
    rows = list(dataset.records("frequencies-csv"))
    table = pd.read_csv(folder / "audit-run" / "frequencies.csv")
    assert [row["frequencies-csv/n_text"] for row in rows] == table["n_text"].tolist()


def test_notes_and_drops_are_limitations(folder):
    record = json.loads((folder / "longtail.json").read_text(encoding="utf-8"))
    notes = read_long_tail(folder / "longtail-run").notes
    assert set(notes) <= set(record["rai:dataLimitations"])


def test_a_file_of_somebody_is_not_replaced(folder, tmp_path, capsys):
    mine = tmp_path / "mine.json"
    mine.write_text("{}")
    call = ["curate", str(folder / "audit-run"), "--size", "10", "-o", str(tmp_path / "out")]
    assert main([*call, "--croissant", str(mine), "--engine", "serial"]) == 2
    assert mine.read_text() == "{}"
    assert not (tmp_path / "out").exists()


def test_what_a_run_rests_on(folder, tmp_path, capsys):
    assert main(["cite", str(folder / "audit-run")]) == 0
    text = capsys.readouterr().out
    keys = re.findall(r"^@\w+\{([\w]+),", text, re.MULTILINE)
    assert keys == [
        "conceptaudit",
        "udandarao2024",
        "spacy",
        "silveira2014",
        "mccrae2019",
        "open_clip",
    ]
    assert text.count("{") == text.count("}")
    assert main(["cite", str(tmp_path)]) == 2


def test_weights_name_their_data(tmp_path):
    manifest = {"kind": "evaluation", "models": [{"pretrained": "ViT-B-32/laion2b_s34b_b79k"}]}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    text = cited(tmp_path)
    assert "schuhmann2022" in text
    assert "cherti2023" in text
    assert "radford2021" not in text
    assert all(key in references() for _, keys in _WEIGHTS for key in keys)


def test_a_curve_names_whose_counts_it_rests_on(tmp_path):
    rows = [f"RN50,cc12m,food101,{name},accuracy,{0.3 + 0.1 * i}\n" for i, name in enumerate(FOODS)]
    head = "model,pretraining,dataset,concept,metric,accuracy\n"
    (tmp_path / "accuracies.csv").write_text(head + "".join(rows))
    call = ["fit", "reference:cc12m/clip-beyond-tail", "-a", str(tmp_path / "accuracies.csv")]
    assert main([*call, "-o", str(tmp_path / "curve")]) == 0
    text = cited(tmp_path / "curve")
    assert "wen2024" in text
    assert "liu2025" not in text
    assert all(key in references() for _, key in _REFERENCE_COUNTS)

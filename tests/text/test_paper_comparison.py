"""The comparison of published and our counts ends at both of them."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.vocabulary import read_concepts


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return importlib.import_module("compare_paper_counts")


def test_the_ends_are_what_audits_count(realdata: Path, tmp_path: Path, script: ModuleType) -> None:
    table = pd.read_parquet(realdata / "captions/laion_alt_text_10k.parquet")[2000:2080]
    flickr = pd.read_parquet(realdata / "captions/flickr30k_en.parquet")[:40]
    captions = [*table["TEXT"], *flickr["caption"]]
    path = tmp_path / "captions.parquet"
    pd.DataFrame({"TEXT": captions}).to_parquet(path)
    concepts = realdata / "clip/detic_text_embeddings/lvis_categories.csv"
    counts = script.compare(captions, read_concepts(concepts).vocabulary, "bundled")
    for rule, mode in ((0, "paper"), (-1, "exact")):
        options = AuditOptions(text_mode=mode)
        run = audit(path, concepts, tmp_path / mode, options=options)
        assert counts[rule].tolist() == run.table["n_text"].tolist()
    assert (counts[0] != counts[-1]).any()


def test_each_rule_changes_what_it_says(script: ModuleType) -> None:
    captions = [
        "a dog in Afghanistan",
        "a stand that sells hot chairs",
        "a hot dog",
        "a t-shirt",
        "a shirt",
        "a hound",
        "a Boeing 747",
    ]
    names = [
        {"concept": "dog", "aliases": "hound"},
        "hot dog",
        "zebra shirt",
        "t-shirt",
        "Afghanistan",
        "Boeing 747",
    ]
    vocabulary = read_concepts(names).vocabulary
    counts = script.compare(captions, vocabulary, "bundled")
    steps = dict(zip([name for name, _ in script.RULES[1:]], np.diff(counts, axis=0), strict=True))
    number = vocabulary.names.index
    assert steps["absent terms"][number("zebra shirt")] == -2
    assert steps["case"][number("Afghanistan")] == 1
    assert steps["words of a name"][number("t-shirt")] == -1
    assert steps["longest match"][number("dog")] == -1
    assert steps["aliases"][number("dog")] == 1
    assert counts[-1].tolist() == [2, 1, 0, 1, 1, 1]
    told = script.describe(counts, vocabulary, 3)
    gains = sum(row["more"] - row["fewer"] for row in told["rules"])
    assert gains == told["ours_total"] - told["published_total"]

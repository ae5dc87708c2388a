"""The fast text mode, end to end: whole where little is open, estimates that say so elsewhere."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.errors import ConfigError

CONCEPTS = ["dog", "watch", "orange", "train", "table", "zebra"]
RESULTS = (
    "frequencies.parquet",
    "frequencies.csv",
    "alignment.json",
    "text_strata.parquet",
    "text_estimate.json",
)


def made_captions(n: int) -> list[str]:
    """Captions of four patterns, in which nouns and their look-alikes take turns."""
    rng = np.random.default_rng(0)
    patterns = [
        "they watch the train number {}",
        "a gold watch on a table {}",
        "a man in an orange shirt {}",
        "an orange and {} dogs",
        "nothing of note {}",
    ]
    chosen = rng.choice(len(patterns), size=n, p=[0.3, 0.2, 0.2, 0.1, 0.2])
    return [patterns[which].format(i) for i, which in enumerate(chosen.tolist())]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Captions, and image tags that agree with some of them."""
    folder = tmp_path_factory.mktemp("fast")
    captions = made_captions(1_600)
    keys = [f"k{i}" for i in range(len(captions))]
    pd.DataFrame({"key": keys, "TEXT": captions}).to_parquet(folder / "captions.parquet")
    tags = [
        {"key": key, "concept": "watch", "score": 1.0} for i, key in enumerate(keys) if i % 3 == 0
    ]
    pd.DataFrame(tags).to_parquet(folder / "tags.parquet")
    return folder


def options(**more: object) -> AuditOptions:
    return AuditOptions(text_mode="fast", text_error=0.03, **more)  # type: ignore[arg-type] -- any option


def digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in RESULTS}


def test_estimates_lie_where_they_say(corpus: Path, tmp_path: Path) -> None:
    path, tags = corpus / "captions.parquet", str(corpus / "tags.parquet")
    fast = audit(path, CONCEPTS, tmp_path / "fast", options=options(image_tags=tags))
    exact_options = AuditOptions(text_mode="exact", image_tags=tags)
    exact = audit(path, CONCEPTS, tmp_path / "exact", options=exact_options)
    table, truth = fast.table, exact.table
    for side in ("text", "joint"):
        known = table[f"n_{side}_se"] == 0
        assert (table[f"n_{side}"][known] == truth[f"n_{side}"][known]).all()
        inside = truth[f"n_{side}"].between(
            table[f"n_{side}_full_low"], table[f"n_{side}_full_high"]
        )
        assert inside.all()
        assert (table[f"n_{side}_low"] <= table[f"n_{side}_full_low"]).all()
        assert (table[f"n_{side}_high"] >= table[f"n_{side}_full_high"]).all()
    assert (table["n_text_se"] > 0).any()
    assert table["n_image"].equals(truth["n_image"])
    assert fast.account["text"] == exact.account["text"]
    assert any("were counted fast" in note for note in fast.notes)
    for name in ("n_text_tagged", "n_both_tagged", "n_agreeing"):
        ours, theirs = getattr(fast.alignment, name), getattr(exact.alignment, name)
        assert abs(ours - theirs) <= 0.03 * theirs


def test_any_sharding_and_any_workers_estimate_the_same(corpus: Path, tmp_path: Path) -> None:
    path = corpus / "captions.parquet"
    audit(path, CONCEPTS, tmp_path / "whole", options=options())
    for name, more in {
        "cut": {"shard_rows": 330},
        "shared": {"shard_rows": 900, "workers": 2},
    }.items():
        audit(path, CONCEPTS, tmp_path / name, options=options(**more))
        assert digests(tmp_path / name) == digests(tmp_path / "whole")


def test_a_small_corpus_is_counted_exactly(corpus: Path, tmp_path: Path) -> None:
    captions = pd.read_parquet(corpus / "captions.parquet")[:150]
    captions.to_parquet(tmp_path / "few.parquet")
    fast = audit(tmp_path / "few.parquet", CONCEPTS, tmp_path / "fast", options=options()).table
    exact = audit(
        tmp_path / "few.parquet", CONCEPTS, tmp_path / "x", options=AuditOptions(text_mode="exact")
    ).table
    assert (fast["n_text_se"] == 0).all()
    assert fast["n_text"].tolist() == exact["n_text"].tolist()


def test_pairs_carry_what_their_probability_is_found_by(corpus: Path, tmp_path: Path) -> None:
    audit(corpus / "captions.parquet", CONCEPTS, tmp_path / "run", options=options())
    tags = pd.concat(
        pd.read_parquet(path)
        for path in sorted((tmp_path / "run/text").glob("*.parquet"))
        if path.name.count(".") == 1
    )
    strata = pd.read_parquet(tmp_path / "run/text_strata.parquet")
    is_open = tags[tags["form"] != 0]
    found = is_open.merge(strata, on=["form", "context"], how="left")
    assert found["share"].between(0, 1).all()
    assert strata["n"].sum() == len(is_open)
    assert (strata["n_named"] <= strata["n_tagged"]).all()


def test_an_exact_run_in_the_same_folder_leaves_no_estimate(corpus: Path, tmp_path: Path) -> None:
    path = corpus / "captions.parquet"
    audit(path, CONCEPTS, tmp_path / "run", options=options())
    run = audit(
        path, CONCEPTS, tmp_path / "run", options=AuditOptions(text_mode="exact"), resume=True
    )
    assert "n_text_se" not in run.table
    assert not (tmp_path / "run/text_strata.parquet").exists()


def test_what_cannot_be_had_fast_is_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'fast' cannot be had with co-occurrence"):
        audit(
            corpus / "captions.parquet",
            CONCEPTS,
            tmp_path / "x",
            options=options(cooccurrence=True),
        )
    with pytest.raises(ConfigError, match="'text_error' parameter of AuditOptions must be in"):
        AuditOptions(text_error=0.0)


def test_many_captions_are_counted_fast(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conceptaudit.auditing.plan.FAST_ABOVE", 1_000)
    run = audit(corpus / "captions.parquet", CONCEPTS, tmp_path / "run")
    assert any("text is counted fast" in note for note in run.notes)
    careful = AuditOptions(cooccurrence=True)
    run = audit(corpus / "captions.parquet", CONCEPTS, tmp_path / "all", options=careful)
    assert any("cannot be had with co-occurrence" in note for note in run.notes)

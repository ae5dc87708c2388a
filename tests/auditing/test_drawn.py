"""A drawn sample is a random part of the rows, says so, and counts what it holds."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.auditing.sources import DrawnDataset
from conceptaudit.datasets import open_dataset
from conceptaudit.datasets.base import CAPTION
from conceptaudit.errors import ConfigError
from conceptaudit.records import ROW_BITS

ROWS, PARTS = 500, 40


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 files of 500 rows; every fourth caption holds a dog, one in 50 is null."""
    folder = tmp_path_factory.mktemp("corpus")
    for part in range(PARTS):
        captions = [("a dog" if row % 4 == 0 else "a cat") for row in range(ROWS)]
        table = pd.DataFrame({"url": [f"{part}-{row}" for row in range(ROWS)], "caption": captions})
        table.loc[table.index % 50 == 1, "caption"] = None
        table.to_parquet(folder / f"{part:03}.parquet")
    return folder


def test_every_row_is_as_likely_as_every_other(corpus: Path) -> None:
    whole = open_dataset(corpus)
    taken = np.zeros(PARTS * ROWS)
    for seed in range(60):
        drawn = DrawnDataset.draw(whole, 1_000, seed=seed)
        assert drawn.n_whole == PARTS * ROWS
        for shard in drawn.shards():
            for batch in drawn.read(shard, frozenset({CAPTION})):
                part = shard.file_index
                taken[part * ROWS + (batch.sample_ids & ((1 << ROW_BITS) - 1))] += 1
    share = taken.sum() / 60 / len(taken)
    assert abs(share - 0.05) < 0.003
    by_part = taken.reshape(PARTS, ROWS).sum(axis=1)
    assert by_part.min() > 0.3 * by_part.mean()


def test_an_audit_of_a_sample_says_of_what(corpus: Path, tmp_path: Path) -> None:
    run = audit(corpus, ["dog", "cat"], tmp_path / "run", options=AuditOptions(sample=2_000))
    account = run.account["text"]
    n_read = account["n_samples"]
    assert 1_800 < n_read < 2_200
    assert account["n_used"] + sum(account["dropped"].values()) == n_read
    sampled = json.loads((tmp_path / "run/manifest.json").read_text())["sampled"]
    assert sampled == {"n_read": n_read, "sampled_from": PARTS * ROWS, "drawn": True}
    assert any("--sample" in note for note in run.notes)
    dogs = int(run.table["n_text"][0])
    assert abs(dogs / n_read - 0.25) < 0.05
    again = audit(corpus, ["dog", "cat"], tmp_path / "two", options=AuditOptions(sample=2_000))
    assert again.table["n_text"].tolist() == run.table["n_text"].tolist()


def test_more_than_there_is_is_everything(corpus: Path, tmp_path: Path) -> None:
    run = audit(corpus, ["dog"], tmp_path / "run", options=AuditOptions(sample=10**6))
    assert run.account["text"]["n_samples"] == PARTS * ROWS


def test_what_a_sample_cannot_be_had_with() -> None:
    with pytest.raises(ConfigError, match="--sample"):
        AuditOptions(sample=0)
    with pytest.raises(ConfigError, match="--sampled-from"):
        AuditOptions(sample=5, sampled_from=100)

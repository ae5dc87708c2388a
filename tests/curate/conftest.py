"""A small audited dataset whose captions, scores and embeddings are known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.curate import CurateOptions, curate

NAMES = ("dog", "cat", "car", "tree", "house", "bird", "horse", "apple", "lamp", "zebra")
N = 1_200


@dataclass(frozen=True)
class Known:
    """The audited set and its truth."""

    run: Path
    table: pd.DataFrame
    vectors: np.ndarray
    named: list[set[str]]

    def counts(self, rows=None) -> pd.Series:
        chosen = range(len(self.named)) if rows is None else rows
        return pd.Series([name for i in chosen for name in self.named[i]]).value_counts()

    def kept(self, out: Path | None = None, **options) -> pd.DataFrame:
        """Curate, and return what is kept by row of the table."""
        curate([self.run], out, options=CurateOptions(**options), workers=1)
        kept = pd.read_parquet(out / "kept.parquet")
        rows = pd.Series(range(len(self.table)), self.table["uid"])
        return kept.assign(row=rows[kept["key"]].to_numpy())


def make_table(seed: int, n: int) -> tuple[pd.DataFrame, np.ndarray, list[set[str]]]:
    rng = np.random.default_rng(seed)
    law = np.array([1 / (1 + k) ** 1.3 for k in range(len(NAMES))])
    named, captions, vectors = [], [], []
    centres = rng.standard_normal((len(NAMES), 16))
    for _ in range(n):
        k = rng.choice(len(NAMES), p=law / law.sum())
        concepts = {NAMES[k]}
        if rng.random() < 0.2:
            concepts.add(NAMES[rng.integers(len(NAMES))])
        if rng.random() < 0.1:
            concepts = set()
        names = sorted(concepts)
        text = " and ".join(f"a {name}" for name in names) or "untitled"
        captions.append(f"photo of {text}" if names else text)
        named.append(concepts)
        vectors.append(centres[k] + rng.standard_normal(16) * rng.choice([0.3, 1.5]))
    vectors = np.array(vectors, dtype=np.float32)
    copies = rng.choice(n, size=n // 20, replace=False)
    vectors[copies] = vectors[(copies + 1) % n] * 2.0  # the same direction
    table = pd.DataFrame(
        {
            "uid": [f"{rng.integers(1 << 63):016x}{i:016x}" for i in range(n)],
            "url": [f"https://host{i % 7}.org/{seed}/{i}.jpg" for i in range(n)],
            "text": captions,
            "clip_l14_similarity_score": rng.uniform(0.1, 0.4, n).round(3),
            "punsafe": np.where(rng.random(n) < 0.05, None, rng.random(n).round(3)),
        }
    ).astype({"punsafe": "float64"})
    return table, vectors, named


def write(folder: Path, table: pd.DataFrame, vectors: np.ndarray, parts: int = 3) -> Path:
    for place in ("img_emb", "metadata"):
        (folder / place).mkdir(parents=True)
    for i, rows in enumerate(np.array_split(np.arange(len(table)), parts)):
        np.save(folder / "img_emb" / f"img_emb_{i}.npy", vectors[rows])
        part = table.iloc[rows].reset_index(drop=True)
        part.to_parquet(folder / "metadata" / f"metadata_{i}.parquet", index=False)
    return folder


def make_known(folder: Path, seed: int, n: int) -> Known:
    table, vectors, named = make_table(seed, n)
    data = write(folder / "data", table, vectors)
    audit(data, list(NAMES), folder / "run", options=AuditOptions(near_duplicates=0.999, workers=1))
    return Known(run=folder / "run", table=table, vectors=vectors, named=named)


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    return make_known(tmp_path_factory.mktemp("known"), 1, N)


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Known:
    return make_known(tmp_path_factory.mktemp("other"), 2, 600)

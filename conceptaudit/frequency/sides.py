"""What a comparison is made of: audits, tables of counts, and published reference counts.

Samples may come in clusters, such as five captions of one image: a concept is in nearly all of them
or in none, and its count varies as if images had been drawn, not captions. For clusters drawn at
random the variance of a count over its mean is the mean size of a hit's own cluster,
sum(m**2) / sum(m) over clusters with m hits each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conceptaudit.artifacts import MANIFEST, Json, read_json
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.frequency.intervals import FloatArray, poisson_interval
from conceptaudit.frequency.rate_ratios import Counted
from conceptaudit.frequency.readers import read_frequencies
from conceptaudit.frequency.reference import PREFIX, ReferenceCounts, reference_counts
from conceptaudit.names import name_keys
from conceptaudit.reading import read_parquet
from conceptaudit.records import ROW_BITS, ConceptFrequencies
from conceptaudit.store.shards import stage_tables

# Shards of a run that are read, spread evenly: dispersion is an average and needs no more.
MOST_SHARDS = 64

# Hits at which a concept's own dispersion weighs as much as that of all concepts together.
SHARED_HITS = 20.0


def count_dispersion(run: Path, sides: tuple[str, ...], n_concepts: int) -> FloatArray:
    """Estimate the variance of each concept's count over its mean, from the tags of a run.

    Returns (n_concepts,) in the order of the run's concepts, at least 1; 1 where every sample has a
    key of its own or the run keeps no tags.
    """
    shards = [path.stem for path in stage_tables(run / sides[0])]
    chosen = np.unique(np.linspace(0, len(shards) - 1, MOST_SHARDS).round().astype(int))
    squares, hits = np.zeros(n_concepts), np.zeros(n_concepts)
    for shard in [shards[i] for i in chosen] if shards else []:
        sizes = _cluster_hits(run, sides, shard)
        concept = sizes["concept_id"].to_numpy(np.intp)
        size = sizes["hits"].to_numpy(np.float64)
        squares += np.bincount(concept, weights=size**2, minlength=n_concepts)
        hits += np.bincount(concept, weights=size, minlength=n_concepts)
    return dispersion_of(squares, hits)


def dispersion_of(squares: FloatArray, hits: FloatArray) -> FloatArray:
    """Divide sums of squared hits per cluster by hits; concepts with few lean on all of them."""
    overall = squares.sum() / hits.sum() if hits.sum() > 0 else 1.0
    return np.asarray((squares + SHARED_HITS * overall) / (hits + SHARED_HITS), dtype=np.float64)


def _cluster_hits(run: Path, sides: tuple[str, ...], shard: str) -> pd.DataFrame:
    """Return the hits of each concept in each cluster: samples of one file that share a key."""
    columns = ["sample_id", "concept_id", "key"]
    tables = []
    for side in sides:
        path = run / side / f"{shard}.parquet"
        tables.append(read_parquet(path, columns=columns) if path.exists() else None)
    present = [table for table in tables if table is not None]
    if len(present) < len(sides):
        return pd.DataFrame({"concept_id": [], "hits": []})
    tags = present[0]
    for other in present[1:]:
        tags = tags.merge(other[columns[:2]], on=columns[:2])
    # Keys are unique within a file; other files may number their samples alike.
    file = tags["sample_id"].to_numpy(np.int64) >> ROW_BITS
    groups = tags.assign(file=file).groupby(["concept_id", "file", "key"], sort=False)
    return groups.size().rename("hits").reset_index()


# Sides of a dataset that a count is made from.
SIDES = {"n_text": ("text",), "n_image": ("image",), "n_joint": ("text", "image")}
CORRECTED = "_corrected"

# What should be the same in all audits.
ALIKE = ("text", "image", "clip", "threshold", "calibration")


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One dataset of a comparison."""

    name: str
    folder: Path | None  # of an audit; None for a table or reference counts
    manifest: dict[str, Any]  # of an audit; empty otherwise
    frequencies: ConceptFrequencies  # a row per concept name
    # samples that a table was counted in; None where that is unknown, and for an audit, whose
    # manifest says it
    total: int | None = None
    by: ReferenceCounts | None = None  # whose reference counts these are

    @property
    def keys(self) -> list[str]:
        """Folded names of the concepts, by which they are joined."""
        return name_keys(self.frequencies.table["concept"])

    def held(self, count: str) -> frozenset[str]:
        """Folded names of the concepts that have this count."""
        known = self.frequencies.table[count].notna().to_numpy(dtype=bool)
        return frozenset(key for key, has in zip(self.keys, known, strict=True) if has)

    def counted(self, count: str, keys: Sequence[str]) -> Counted:
        """Take one count of some concepts, by their folded names.

        Samples are 0 where they are unknown: such a side has no rates.
        """
        table = self.frequencies.table.set_index(pd.Index(self.keys)).loc[list(keys)]
        values = pd.to_numeric(table[count]).to_numpy(np.float64)
        level = self.frequencies.level
        if f"{count}_low" in table:
            ends = [pd.to_numeric(table[f"{count}_{end}"]) for end in ("low", "high")]
            low, high = (end.to_numpy(np.float64) for end in ends)
        else:
            low, high = poisson_interval(values, level)
        return Counted(
            count=values,
            low=low,
            high=high,
            n_samples=self.n_samples(count) or 0,
            level=level,
            dispersion=self._dispersion(count, keys, values, low, high),
        )

    def _dispersion(
        self,
        count: str,
        keys: Sequence[str],
        counts: FloatArray,
        low: FloatArray,
        high: FloatArray,
    ) -> FloatArray:
        """Return the variance of counts over their means: of clusters, or of estimates."""
        # An estimated count has a wider interval than a Poisson count of its size.
        poisson = np.subtract(*poisson_interval(counts, self.frequencies.level)[::-1])
        estimated = ((high - low) / poisson) ** 2
        if self.folder is None:
            return np.asarray(np.fmax(1.0, estimated), dtype=np.float64)
        sides = SIDES[count.removesuffix(CORRECTED)]
        clustered = count_dispersion(self.folder, sides, len(self.frequencies.table))
        own = pd.Series(clustered, index=self.keys).loc[list(keys)].to_numpy(np.float64)
        return np.asarray(np.fmax(own, estimated), dtype=np.float64)

    def n_samples(self, count: str) -> int | None:
        """Return how many samples could be counted; of two sides, of the one that has fewer."""
        if self.folder is None:
            return self.total
        account = self.manifest["account"]
        return min(int(account[s]["n_used"]) for s in SIDES[count.removesuffix(CORRECTED)])

    @property
    def counts(self) -> list[str]:
        """Counts that this side holds: of an audit, those with intervals."""
        table = self.frequencies.table
        names = [name for raw in SIDES for name in (raw, f"{raw}{CORRECTED}")]
        held = [name for name in names if name in table and table[name].count()]
        return [n for n in held if self.folder is None or f"{n}_low" in table]


def read_side(source: str | Path, name: str, counts: Sequence[str]) -> Side:
    """Read one dataset of a comparison."""
    if str(source).startswith(PREFIX):
        found = reference_counts(str(source), counts[0] if counts else None)
        table = _by_name(found.frequencies(), name, refuse=False)
        return Side(
            name=name, folder=None, manifest={}, frequencies=table, total=found.n_samples, by=found
        )
    path = Path(source)
    if not path.is_dir():
        frequencies = read_frequencies(path)
        table = _by_name(frequencies, name, refuse=True)
        return Side(
            name=name, folder=None, manifest={}, frequencies=table, total=frequencies.n_samples
        )
    manifest = read_json(path / MANIFEST) if (path / MANIFEST).is_file() else None
    if not isinstance(manifest, dict) or manifest.get("kind") != "audit":
        raise DataError(
            f"{path} is not a finished audit. Name the folder that 'conceptaudit audit … -o RUN' "
            f"wrote, a table of counts, or {PREFIX}NAME ('conceptaudit reference list')."
        )
    account = manifest.get("account")
    parts = list(account.values()) if isinstance(account, dict) else []
    if not parts or not all(isinstance(s, dict) and _whole(s.get("n_used")) for s in parts):
        raise DataError(
            f"{path / MANIFEST} is damaged: its account does not say how many samples were used."
        )
    return Side(name=name, folder=path, manifest=manifest, frequencies=read_frequencies(path))


def _by_name(frequencies: ConceptFrequencies, name: str, *, refuse: bool) -> ConceptFrequencies:
    """Reduce counts by evaluation set to one row per name: the first that was counted."""
    table = frequencies.table
    counted = [column for column in frequencies.counted if column in table]
    keys = pd.Series(name_keys(table["concept"]))
    if refuse and "dataset" not in table and bool(keys.duplicated().any()):
        twice = table["concept"].iloc[int(keys.duplicated().to_numpy().argmax())]
        raise DataError(f"{name} has the concept {twice!r} more than once. Keep one row of it.")
    # a name of several sets may be counted for some of them only
    order = table[counted].isna().any(axis=1).to_numpy().argsort(kind="stable")
    first = order[~keys.iloc[order].duplicated().to_numpy()]
    return ConceptFrequencies(
        table.iloc[np.sort(first)].reset_index(drop=True), frequencies.source, frequencies.level
    )


def _whole(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def side_names(sources: Sequence[str | Path]) -> list[str]:
    """Name each source: a folder by its own name where that tells them apart."""
    short = [
        str(source).removeprefix(PREFIX)
        if str(source).startswith(PREFIX)
        else Path(source).resolve().name
        for source in sources
    ]
    names = short if len(set(short)) == len(short) else [str(source) for source in sources]
    if len(set(names)) < len(names):
        raise ConfigError(f"Every audit must be named once. Got {names} instead.")
    return names


def unlike(sides: Sequence[Side]) -> list[str]:
    """Name what was not done alike on all sides."""
    notes = [
        f"{side.name} was counted by {side.by.by} ({side.by.method}), in about "
        f"{quantity(side.by.n_samples or 0, 'sample')}: ratios are of the countings as well as of "
        "the data."
        for side in sides
        if side.by is not None
    ]
    notes += [
        f"How many samples {side.name} was counted in is not known: concepts are compared by rank."
        for side in sides
        if side.folder is None and not side.total
    ]
    audits = [side for side in sides if side.folder is not None]
    for audit in audits[1:]:
        how, first = _how(audit.manifest), _how(audits[0].manifest)
        other = [name for name in ALIKE if how.get(name) != first.get(name)]
        if other:
            notes.append(
                f"{audit.name} was not counted as {audits[0].name} was: {', '.join(other)} "
                "differ. Ratios are of the countings as well as of the data; corrected image "
                "counts suffer least."
            )
    return notes


def _how(manifest: Json) -> dict[str, Json]:
    """Return the settings that change counts."""
    how = {name: manifest.get(name) for name in ("clip", "threshold", "calibration")}
    for stage in manifest.get("settings") or []:
        if isinstance(stage, dict) and stage.get("stage") == "text":
            how["text"] = {
                name: stage.get(name) for name in ("pipeline", "pos", "nested", "normalizer")
            }
    return how

"""Draw a probability sample of a finished audit for somebody to judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.artifacts import STARTED, ShardStore, read_json
from conceptaudit.auditing.judged_run import (
    CELL_COLUMNS,
    CELLS_FILE,
    IMAGE_SIDE,
    JUDGED_COLUMNS,
    SHARE_COLUMNS,
    TEXT_SIDE,
)
from conceptaudit.auditing.mentions import mention_pairs
from conceptaudit.auditing.sources import open_source
from conceptaudit.datasets.base import CAPTION, IMAGE, Dataset
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.frequency.judged import NEITHER
from conceptaudit.options.audit import AuditOptions
from conceptaudit.reading import concept_names, read_parquet
from conceptaudit.store.checking import check_written

MOST_STRATA = 8
PER_STRATUM = 4
"""Judged images of a stratum, about, from which its spread can be told."""

EVEN = 0.5
"""Share of the budget that is spread evenly: no weight exceeds twice the average, so that a model
that is wrong costs precision, and never much of it."""

MOST_LISTED = 1_000_000
"""Samples that are listed to draw from; of a larger dataset a first part is drawn at random."""

PER_NAME = 20
"""Captions judged per name where the user names no concept: a share to within 0.2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A finished audit's folder, its dataset and names."""

    folder: Path
    source: Dataset
    names: list[str]

    @classmethod
    def open(cls, run: str | Path) -> _Run:
        folder = Path(run)
        if not (folder / STARTED).is_file():
            raise ConfigError(f"{folder} holds no audit to judge.")
        started = read_json(folder / STARTED)
        if not isinstance(started, dict) or not isinstance(started.get("dataset"), str):
            raise DataError(f"{folder / STARTED} names no dataset. Run the audit again.")
        options = AuditOptions.restored(started.get("options", {}))
        source = open_source(started["dataset"], options)
        for name in ("concepts.json", "frequencies.parquet", CELLS_FILE):
            check_written(folder / name)
        return cls(folder=folder, source=source, names=concept_names(folder / "concepts.json"))

    def store(self, stage: str) -> ShardStore:
        return ShardStore(folder=self.folder / stage, digest="")

    def shards(self) -> list[str]:
        stage = "text" if (self.folder / "text").is_dir() else "image"
        return sorted(p.name.removesuffix(".json") for p in (self.folder / stage).glob("*.json"))

    def chosen(self, concepts: Sequence[str]) -> np.ndarray:
        unknown = [name for name in concepts if name not in self.names]
        if unknown:
            raise ConfigError(
                f"--concepts names {unknown[:3]}, which {self.folder} did not count. Use names of "
                "its concepts.json."
            )
        position = {name: place for place, name in enumerate(self.names)}
        return np.array([position[name] for name in dict.fromkeys(concepts)], dtype=np.int64)

    def samples(self) -> pd.DataFrame:
        """List sample_id, key and caption of all samples, those of one image together."""
        parts = []
        wanted = frozenset({CAPTION}) & frozenset(self.source.provides)
        for shard in self.source.shards():
            for batch in self.source.read(shard, wanted):
                captions = batch.captions or [None] * len(batch)
                parts.append(
                    pd.DataFrame(
                        {
                            "sample_id": batch.sample_ids,
                            "key": pd.Series(list(batch.keys), dtype="str"),
                            "caption": pd.Series(list(captions), dtype="object"),
                        }
                    )
                )
        return pd.concat(parts, ignore_index=True)


def draw_sample(
    run: str | Path,
    *,
    budget: int,
    concepts: Sequence[str] = (),
    side: str = IMAGE_SIDE,
    seed: int = 0,
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Draw what is to be judged, as a table to fill in.

    Parameters
    ----------
    run : str or Path
        Folder of a finished audit; its dataset must be where it was.
    budget : int
        Images, each judged for all concepts; or captions, each judged for one (`side` "text").
    concepts : sequence of str, optional
        Names of the run's list; all of them by default (text: the frequent ones with two or more
        senses).
    side : {"image", "text"}, default "image"
        Whether images show the concepts, or captions mean them.
    seed : int, default 0

    Returns
    -------
    table : pandas.DataFrame
        `JUDGED_COLUMNS`, ``present`` empty.
    notes : tuple of str

    Raises
    ------
    ConfigError, DataError
        The run cannot be judged; the message says why.
    """
    if budget < 1:
        raise ConfigError(f"--budget must be at least 1. Got {budget} instead.")
    if side not in (IMAGE_SIDE, TEXT_SIDE):
        raise ConfigError(f"--side must be 'image' or 'text'. Got {side!r} instead.")
    opened = _Run.open(run)
    rng = np.random.default_rng(seed)
    if side == TEXT_SIDE:
        return _draw_captions(opened, budget, concepts, rng)
    return _draw_images(opened, budget, concepts, rng)


def _draw_images(
    run: _Run, budget: int, concepts: Sequence[str], rng: np.random.Generator
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    if not (run.folder / CELLS_FILE).exists():
        raise ConfigError(
            f"{run.folder} holds no {CELLS_FILE}: its images were not tagged. Audit with --clip, "
            "--concept-vectors or --image-tags."
        )
    chosen = run.chosen(concepts) if len(concepts) else np.arange(len(run.names))
    images = _usable_images(run)
    cells = read_parquet(run.folder / CELLS_FILE).iloc[chosen]
    n_images = int(cells[list(CELL_COLUMNS)].iloc[0].sum())
    if len(images) < n_images:
        raise DataError(
            f"{quantity(n_images, 'image')} of {run.source.location} have "
            f"{quantity(len(images), 'key')} between them, so that an answer could not be given "
            "back to its image. Name a column that identifies images with --key-column and audit "
            "again."
        )
    notes = []
    if len(images) > MOST_LISTED:
        images = images.iloc[np.sort(rng.choice(len(images), MOST_LISTED, replace=False))]
        notes.append(
            f"Drawn from {MOST_LISTED:,} of {quantity(n_images, 'image')}, themselves at random."
        )
    budget = min(budget, len(images))
    difficulty = _difficulty(run, images, cells, chosen)
    strata = _strata(difficulty, min(MOST_STRATA, max(budget // PER_STRATUM, 1)))
    drawn = _allocate(difficulty, strata, budget)
    rows, numbers, sizes, shares = [], [], [], []
    for stratum, n in enumerate(drawn):
        members = np.flatnonzero(strata == stratum)
        rows.append(rng.choice(members, n, replace=False))
        numbers += [stratum] * n
        # of a first part of a large dataset every image stands for several
        sizes += [len(members) * n_images / len(images)] * n
        shares += [n / (len(members) * n_images / len(images))] * n
    picked = np.concatenate(rows)
    order = rng.permutation(len(picked))
    table = images.iloc[picked[order]].reset_index(drop=True)
    table["stratum"] = np.array(numbers)[order]
    table["n_stratum"] = np.array(sizes)[order]
    table["inclusion_probability"] = np.array(shares)[order]
    table = table.loc[np.tile(np.arange(len(table)), len(chosen))].reset_index(drop=True)
    table["concept"] = np.repeat(np.array(run.names, dtype=object)[chosen], len(picked))
    if len(chosen) > 10:
        notes.append(
            f"{quantity(len(picked), 'image')} x {quantity(len(chosen), 'concept')}: "
            f"{quantity(len(table), 'answer')}. Where a person judges, name fewer with --concepts."
        )
    return _laid_out(table, IMAGE_SIDE), tuple(notes)


def _usable_images(run: _Run) -> pd.DataFrame:
    """List images once each, without those that could not be used."""
    # a dropped image has no tags to be judged against
    samples = run.samples()
    for path in sorted((run.folder / "image").glob("*.drops.parquet")):
        drops = read_parquet(path, columns=["sample_id", "part"])
        lost = drops.loc[drops["part"].isin(["sample", IMAGE]), "sample_id"]
        samples = samples[~samples["sample_id"].isin(lost)]
    return samples.drop_duplicates("key").reset_index(drop=True)


def _difficulty(
    run: _Run, images: pd.DataFrame, cells: pd.DataFrame, chosen: np.ndarray
) -> np.ndarray:
    """Return how uncertain the concepts are in each image, shape (n_images,)."""
    sizes = cells[list(CELL_COLUMNS)].to_numpy(dtype=np.float64)
    shares = cells[list(SHARE_COLUMNS)].to_numpy(dtype=np.float64)
    # a share of nothing is never certain: half an image of the cell may be otherwise
    floor = 0.5 / np.maximum(sizes, 1.0)
    variances = np.maximum(shares * (1 - shares), np.minimum(floor, 0.25))
    # every concept counts alike, however frequent it is
    variances /= np.maximum((sizes * variances).sum(axis=1, keepdims=True), 1e-12)
    place = np.full(len(run.names), -1, dtype=np.int64)
    place[chosen] = np.arange(len(chosen))
    row_of_key = pd.Index(images["key"])
    difficulty = np.full(len(images), variances[:, NEITHER].sum())
    for shard in run.shards():
        named = _keyed(run, ("text", "mentions"), shard, row_of_key, place)
        tagged = _keyed(run, ("image",), shard, row_of_key, place)
        pairs = named.merge(tagged, how="outer", indicator=True)
        side = pairs["_merge"].map({"both": 0, "left_only": 1, "right_only": 2}).to_numpy(np.int64)
        concept = pairs["concept"].to_numpy(np.int64)
        gain = variances[concept, side] - variances[concept, NEITHER]
        np.add.at(difficulty, pairs["row"].to_numpy(np.int64), gain)
    return np.asarray(np.sqrt(np.maximum(difficulty, 1e-15)))


def _keyed(
    run: _Run, stages: Sequence[str], shard: str, keys: pd.Index, place: np.ndarray
) -> pd.DataFrame:
    """Return the distinct pairs of image row and chosen concept in a shard's tags."""
    parts = []
    for stage in stages:
        path = run.folder / stage / f"{shard}.parquet"
        if not path.exists():
            continue
        tags = read_parquet(path, columns=["key", "concept_id"])
        tags = tags[tags["concept_id"] < len(place)]
        rows = keys.get_indexer(pd.Index(tags["key"]))
        concept = place[tags["concept_id"].to_numpy(np.int64)]
        inside = (rows >= 0) & (concept >= 0)
        parts.append(pd.DataFrame({"row": rows[inside], "concept": concept[inside]}))
    if not parts:
        return pd.DataFrame({"row": np.empty(0, np.int64), "concept": np.empty(0, np.int64)})
    return pd.concat(parts, ignore_index=True).drop_duplicates()


def _strata(difficulty: np.ndarray, n_strata: int) -> np.ndarray:
    """Cut images into strata of equal share of difficulty, shape (n_images,).

    See T. Dalenius, J. L. Hodges, "Minimum variance stratification", JASA 54 (1959).
    """
    order = np.argsort(difficulty, kind="stable")
    reached = np.cumsum(np.sqrt(difficulty[order]))
    cut = np.minimum((reached / reached[-1] * n_strata - 1e-9).astype(np.int64), n_strata - 1)
    strata = np.empty(len(difficulty), dtype=np.int64)
    strata[order] = cut
    return np.unique(strata, return_inverse=True)[1]


def _allocate(difficulty: np.ndarray, strata: np.ndarray, budget: int) -> np.ndarray:
    """Divide the budget among strata: half evenly over images, half after Neyman."""
    sizes = np.bincount(strata).astype(np.float64)
    spread = np.bincount(strata, difficulty)
    # Neyman: more where images differ more; the even half bounds what a wrong model can cost
    wanted = budget * (EVEN * sizes / sizes.sum() + (1 - EVEN) * spread / spread.sum())
    drawn = np.minimum(np.maximum(np.floor(wanted), np.minimum(2, sizes)), sizes).astype(np.int64)
    while drawn.sum() > budget and (drawn > 1).any():
        drawn[np.argmax(drawn)] -= 1
    for place in np.argsort(-(wanted - drawn), kind="stable"):
        drawn[place] += int(min(max(budget - drawn.sum(), 0), sizes[place] - drawn[place]) > 0)
    while drawn.sum() < budget and (drawn < sizes).any():
        drawn[np.argmax(sizes - drawn)] += 1
    return np.asarray(drawn)


def _draw_captions(
    run: _Run, budget: int, concepts: Sequence[str], rng: np.random.Generator
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    table = read_parquet(run.folder / "frequencies.parquet")
    if not (run.folder / "text").is_dir() or "n_text_se" in table:
        raise ConfigError(
            f"{run.folder} holds no captions that were all tagged. Audit with --text-mode exact."
        )
    counts = table["n_text"].to_numpy(dtype=np.float64, na_value=0.0)
    notes: tuple[str, ...] = ()
    if len(concepts):
        chosen = run.chosen(concepts)
    else:
        senses = table.get("n_senses", pd.Series([2] * len(table)))
        several = np.flatnonzero((senses.fillna(1).to_numpy(np.float64) >= 2) & (counts > 0))
        chosen = several[np.argsort(-counts[several], kind="stable")][: max(budget // PER_NAME, 1)]
        first = ", ".join(run.names[c] for c in chosen[:10])
        note = (
            f"Names with two or more senses, the {len(chosen):,} most frequent: {first}. Choose "
            "others with --concepts."
        )
        notes = (note,)
    chosen = chosen[counts[chosen] > 0]
    if not len(chosen):
        raise DataError("No caption names any of these concepts: there is nothing to judge.")
    pairs = pd.concat(
        [mention_pairs(run.store("text"), None, shard) for shard in run.shards()], ignore_index=True
    )
    parts = []
    shares = np.full(len(chosen), budget // len(chosen)) + (
        np.arange(len(chosen)) < budget % len(chosen)
    )
    for concept, n in zip(chosen.tolist(), shares.tolist(), strict=True):
        samples = pairs.loc[pairs["concept_id"] == concept, "sample_id"].to_numpy(np.int64)
        picked = np.sort(rng.choice(samples, min(n, len(samples)), replace=False))
        part = pd.DataFrame({"sample_id": picked, "concept": run.names[concept], "stratum": 0})
        part["n_stratum"] = float(len(samples))
        part["inclusion_probability"] = len(picked) / len(samples)
        parts.append(part)
    rows = pd.concat(parts, ignore_index=True).merge(run.samples(), on="sample_id", how="left")
    return _laid_out(rows, TEXT_SIDE), notes


def _laid_out(table: pd.DataFrame, side: str) -> pd.DataFrame:
    table = table.assign(side=side, present=pd.array([None] * len(table), dtype="Int64"))
    table["caption"] = table["caption"].fillna("").astype("str")
    return table[list(JUDGED_COLUMNS)].reset_index(drop=True)

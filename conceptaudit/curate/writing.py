"""A curated set in the forms that programs of the field read, streamed shard by shard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conceptaudit.artifacts import ShardStore, write_csv, write_npy, write_text
from conceptaudit.curate.audited import AuditedData
from conceptaudit.datasets.base import CAPTION, EXTRA, Shard
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError
from conceptaudit.store.files import whole_file

KEPT = "kept.parquet"
UIDS = "uids.npy"
SHARD_LIST, SHARD_ARGUMENTS = "webdataset_shards.csv", "webdataset_train_data.txt"
DOWNLOAD = "img2dataset.parquet"
CARD = "README.md"
PARTS = "data/train-[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9].parquet"

UID_TYPE = np.dtype([("f0", "u8"), ("f1", "u8")])
"""DataComp's subset files: the two halves of a uid's 32 hexadecimal digits."""

PER_PART = 500_000
"""Rows of a part of the Hugging Face export."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnRun:
    """What was drawn from one run.

    Parameters
    ----------
    data : AuditedData
    name : str
        Of the run in a mixture; empty where there is one.
    store : ShardStore
        See `drawing.DrawShard`.
    scale : float
        Makes the weights' mean one.
    """

    data: AuditedData
    name: str
    store: ShardStore
    scale: float

    def table(self, shard: Shard) -> pd.DataFrame:
        """Read what was drawn from a shard, with weights whose mean over all is one."""
        table = pd.read_parquet(self.store.path(shard.name, ".parquet"))
        table["weight"] = table["weight"] * self.scale
        if self.name:
            table.insert(0, "run", pd.Series([self.name] * len(table), dtype="str"))
        return table


def write_kept(runs: Sequence[DrawnRun], path: Path) -> None:
    """Write all samples as one parquet file, a row group per shard."""
    _write_rows(path, (run.table(shard) for run in runs for shard in run.data.shards))


def _write_rows(path: Path, tables: Iterator[pd.DataFrame]) -> int:
    """Write tables as row groups of one file; return the rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = 0
    with whole_file(path) as partial:
        writer: Any = None
        for table in tables:
            arrow = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
            if writer is None:
                writer = pq.ParquetWriter(partial, arrow.schema, compression="zstd")
            if len(table):
                writer.write_table(arrow.cast(writer.schema))
            rows += len(table)
        if writer is not None:
            writer.close()
    return rows


def write_uids(runs: Sequence[DrawnRun], path: Path) -> None:
    """Write DataComp's subset file: uids as pairs of ``u8``, sorted.

    Raises
    ------
    ConfigError
        A key is no uid of 32 hexadecimal digits.
    """
    parts = []
    for run in runs:
        for shard in run.data.shards:
            keys = pd.read_parquet(run.store.path(shard.name, ".parquet"), columns=["key"])["key"]
            try:
                words = np.frombuffer(bytes.fromhex("".join(keys)), dtype=">u8").reshape(-1, 2)
            except ValueError:
                words = np.empty((0, 2), dtype=">u8")
            if len(words) != len(keys) or (keys.str.len() != 32).any():
                bad = next((key for key in keys if not _is_uid(key)), "")
                raise ConfigError(
                    "--format datacomp needs DataComp's uids (32 hexadecimal digits) as keys. Got "
                    f"the key {bad!r} in {run.data.folder}; name their column when you audit "
                    "(--key-column uid)."
                )
            parts.append(words.astype(np.uint64))
    words = np.concatenate([np.empty((0, 2), np.uint64), *parts])
    uids = np.empty(len(words), dtype=UID_TYPE)
    uids["f0"], uids["f1"] = words[:, 0], words[:, 1]
    write_npy(path, np.sort(uids))


def _is_uid(key: str) -> bool:
    try:
        return len(key) == 32 and int(key, 16) >= 0
    except ValueError:
        return False


def write_shard_list(runs: Sequence[DrawnRun], folder: Path) -> None:
    """Write WebDataset's archives with weights, and the two arguments of open_clip.

    An archive weighs what is kept of it: the sum of its samples' weights over its samples, scaled
    so that the mean over archives is one. What is dropped inside an archive cannot be said in this
    form; `kept.parquet` says it.

    Raises
    ------
    ConfigError
        A run's dataset is no WebDataset.
    """
    rows: list[dict[str, Any]] = []
    for run in runs:
        if run.data.dataset.layout != "webdataset":
            raise ConfigError(
                f"--format webdataset lists archives, and {run.data.dataset.location} is "
                f"{run.data.dataset.layout!r}."
            )
        for shard in run.data.shards:
            table = run.table(shard)
            n = int(run.store.read(shard.name)["n_left"])
            rows.append(
                {
                    "shard": shard.files[0],
                    "n_left": n,
                    "n_kept": len(table),
                    "weight": float(table["weight"].sum()) / n if n else 0.0,
                }
            )
    shards = pd.DataFrame(rows).groupby("shard", sort=True, as_index=False).sum()
    mean = shards["weight"].mean()
    shards["weight"] = shards["weight"] / mean if mean else shards["weight"]
    write_csv(folder / SHARD_LIST, shards)
    used = shards[shards["weight"] > 0]
    data = "::".join(used["shard"])
    weights = "::".join(f"{weight:.6g}" for weight in used["weight"])
    text = f"--dataset-resampled --train-data '{data}' --train-data-upsampling-factors '{weights}'"
    write_text(folder / SHARD_ARGUMENTS, text + "\n")


def described(run: DrawnRun, shard: Shard) -> pd.DataFrame:
    """Read what was drawn from a shard with its URL and caption."""
    table = run.table(shard)
    wanted = frozenset({EXTRA, CAPTION} & (run.data.dataset.provides | {EXTRA}))
    urls: dict[int, Any] = {}
    captions: dict[int, Any] = {}
    drawn = set(table["sample_id"].tolist())
    for batch in run.data.dataset.read(shard, wanted):
        address = (batch.extra or {}).get("url") or [None] * len(batch)
        texts = batch.captions or [None] * len(batch)
        for i, (one, key) in enumerate(zip(batch.sample_ids.tolist(), batch.keys, strict=True)):
            if one in drawn:
                own = address[i] or (key if "://" in key else None)
                urls[one], captions[one] = own, texts[i]
    ids = table["sample_id"]
    columns = {
        "url": pd.Series([urls.get(one) for one in ids.tolist()], dtype="str"),
        "caption": pd.Series([captions.get(one) for one in ids.tolist()], dtype="str"),
        "key": table["key"],
        "weight": table["weight"],
    }
    return pd.DataFrame(columns | ({"run": table["run"]} if "run" in table else {}))


def write_download_table(runs: Sequence[DrawnRun], path: Path) -> None:
    """Write img2dataset's input: ``url, caption, key, weight``.

    Raises
    ------
    ConfigError
        The dataset has no URLs.
    """
    rows = _write_rows(path, _addressed(runs))
    if not rows:
        raise ConfigError("--format img2dataset needs URLs, and no kept sample has one.")


def _addressed(runs: Sequence[DrawnRun]) -> Iterator[pd.DataFrame]:
    for run in runs:
        for shard in run.data.shards:
            table = described(run, shard)
            yield table[table["url"].notna()]


def write_hugging_face(runs: Sequence[DrawnRun], folder: Path, n_rows: int) -> list[str]:
    """Write parquet parts and a card that Hugging Face's ``load_dataset`` reads.

    Returns
    -------
    list of str
        Paths below the folder.
    """
    n_parts = max(1, -(-n_rows // PER_PART))
    tables = (described(run, shard) for run in runs for shard in run.data.shards)
    held: list[pd.DataFrame] = []
    names: list[str] = []

    def put(rows: pd.DataFrame) -> None:
        name = f"data/train-{len(names):05d}-of-{n_parts:05d}.parquet"
        _write_rows(folder / name, iter([rows]))
        names.append(name)

    for table in tables:
        held.append(table)
        while sum(map(len, held)) >= PER_PART and len(names) < n_parts - 1:
            joined = pd.concat(held, ignore_index=True)
            put(joined.iloc[:PER_PART])
            held = [joined.iloc[PER_PART:]]
    put(pd.concat(held, ignore_index=True))
    card = (
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n"
        "    path: data/train-*.parquet\n---\n\n"
        f"{quantity(n_rows, 'image-caption pair')} chosen by conceptaudit curate: `url`, "
        "`caption`, `key` and `weight` (mean 1: how often to draw a pair). account.csv and "
        "expected.csv say how they were chosen. Images and captions stay under their owners' "
        f"terms.\n"
    )
    write_text(folder / CARD, card)
    return names

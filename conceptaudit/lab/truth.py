"""The truth of a simulated dataset: one row per sample, and the true counts they add up to."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from conceptaudit.errors import ConfigError, DataError
from conceptaudit.lab.config import LabConfig
from conceptaudit.lab.sample_faults import SampleFaults
from conceptaudit.lab.samples import SampleTruth

if TYPE_CHECKING:
    import pyarrow as pa

TRUTH = "truth.parquet"
SETTINGS = "lab.json"

UNREADABLE_IMAGE = frozenset({"truncated", "wrong_magic", "bomb", "missing_image"})
UNREADABLE_CAPTION = frozenset({"bad_utf8", "empty_caption", "missing_caption"})


def image_is_ok(faults: SampleFaults) -> bool:
    """Tell whether a sample's image can still be read."""
    return not faults.link_rot and faults.corrupt not in UNREADABLE_IMAGE


def text_is_ok(faults: SampleFaults) -> bool:
    """Tell whether a sample's caption can still be read."""
    return not faults.link_rot and faults.corrupt not in UNREADABLE_CAPTION


@cache
def truth_schema() -> "pa.Schema":
    """Describe the columns of ``truth.parquet``.

    ``image``, ``text`` and ``joint`` list the concepts that the image shows, that the caption
    names as nouns, and both, *before* damage; ``image_ok`` and ``text_ok`` say whether damage and
    loss have left that side readable. ``not_noun`` lists concepts whose word is in the caption in
    another role. ``duplicate_of`` is the key of the sample whose content is repeated (itself
    possibly damaged or lost).
    """
    import pyarrow as pa

    names = pa.list_(pa.string())
    columns: list[tuple[str, pa.DataType]] = [
        ("index", pa.int64()),
        ("key", pa.string()),
        ("caption", pa.string()),
        ("image", names),
        ("text", names),
        ("joint", names),
        ("not_noun", names),
        ("n_things", pa.int32()),
        ("style", pa.string()),
        ("language", pa.string()),
        ("unrelated", pa.bool_()),
        ("duplicate_of", pa.string()),
        ("duplicate_kind", pa.string()),
        ("corrupt", pa.string()),
        ("link_rot", pa.bool_()),
        ("image_ok", pa.bool_()),
        ("text_ok", pa.bool_()),
    ]
    return pa.schema(columns)


def truth_table(
    rows: Sequence[SampleTruth], keys: Sequence[str], sources: Sequence[str]
) -> "pa.Table":
    """Turn truths into a table; `keys` and `sources` are their keys and those they copy."""
    import pyarrow as pa

    columns: dict[str, Sequence[Any]] = {
        "index": [row.index for row in rows],
        "key": list(keys),
        "caption": [row.caption for row in rows],
        "image": [row.image for row in rows],
        "text": [row.text for row in rows],
        "joint": [row.joint for row in rows],
        "not_noun": [row.not_noun for row in rows],
        "n_things": [row.n_things for row in rows],
        "style": [row.style for row in rows],
        "language": [row.language for row in rows],
        "unrelated": [row.faults.unrelated for row in rows],
        "duplicate_of": [
            source if row.faults.copy_kind else None
            for row, source in zip(rows, sources, strict=True)
        ],
        "duplicate_kind": [row.faults.copy_kind for row in rows],
        "corrupt": [row.faults.corrupt for row in rows],
        "link_rot": [row.faults.link_rot for row in rows],
        "image_ok": [image_is_ok(row.faults) for row in rows],
        "text_ok": [text_is_ok(row.faults) for row in rows],
    }
    return pa.table(columns, schema=truth_schema())


@dataclass(frozen=True, slots=True, kw_only=True)
class LabTruth:
    """Where a generated dataset lies, and how it was made.

    Parameters
    ----------
    folder : pathlib.Path
        The dataset: its shards, ``truth.parquet`` and ``lab.json``.
    config : LabConfig
        Its knobs.
    format : str
        ``"webdataset"`` or ``"parquet"``.
    """

    folder: Path
    config: LabConfig
    format: str

    @property
    def path(self) -> Path:
        """The table with one row per sample."""
        return self.folder / TRUTH

    @property
    def shards(self) -> tuple[Path, ...]:
        """The files that hold the samples, in order."""
        ending = "tar" if self.format == "webdataset" else "parquet"
        return tuple(self.folder / f"{shard:05d}.{ending}" for shard in range(self.config.n_shards))

    def read(self) -> pd.DataFrame:
        """Read the whole table; see `truth_schema` for its columns."""
        return read_truth(self.folder)


def read_truth(path: Path | str) -> pd.DataFrame:
    """Read ``truth.parquet`` of a generated dataset.

    Parameters
    ----------
    path : path
        The dataset's folder or the file itself.

    Returns
    -------
    pandas.DataFrame
        The columns of `truth_schema`, one row per sample, in the order of ``index``.

    Raises
    ------
    DataError
        There is no such file, or it is damaged.
    """
    from conceptaudit.reading import read_parquet

    return read_parquet(truth_file(path))


def read_settings(path: Path | str) -> LabConfig:
    """Read the knobs of a generated dataset from its ``lab.json``."""
    folder = Path(path)
    file = folder / SETTINGS if folder.is_dir() else folder.with_name(SETTINGS)
    if not file.is_file():
        raise DataError(f"The folder {file.parent} is not a lab dataset: it has no {SETTINGS}.")
    try:
        return LabConfig.from_json(json.dumps(json.loads(file.read_text("utf-8"))["config"]))
    except ConfigError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"The settings {file} of a lab dataset cannot be read: {error}.") from error


def truth_file(path: Path | str) -> Path:
    """Find the table of truths in a dataset's folder, or take the file that is named."""
    file = Path(path)
    file = file / TRUTH if file.is_dir() else file
    if not file.is_file():
        raise DataError(f"There is no lab truth at {file}. Name a folder made by generate().")
    return file

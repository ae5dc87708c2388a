"""Two captions of the same images: which concepts the one names and the other does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.auditing import audit
from conceptaudit.curate.audited import AuditedData
from conceptaudit.datasets.base import CAPTION
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.frequency.intervals import LEVEL, normal_reach
from conceptaudit.frequency.rate_ratios import false_discovery_rate
from conceptaudit.options.audit import AuditOptions
from conceptaudit.progress import Progress
from conceptaudit.reading import read_parquet
from conceptaudit.store.partials import ScratchFolder

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedCaptions:
    """Two captions per image, compared.

    Parameters
    ----------
    concepts : pandas.DataFrame
        ``concept, n_a, n_b, n_both, n_gained, n_lost, difference, difference_low,
        difference_high, p, q``: images whose caption a, b, both name it; only b, only a; and the
        difference of the shares of images, b less a, with McNemar's exact p (mid-p).
    whole : pandas.DataFrame
        ``what, a, b, difference, difference_low, difference_high``: concepts and words per image,
        and how many concepts there are in effect (exponential of the entropy).
    n_images : int
        Images with both captions.
    notes : tuple of str
    """

    concepts: pd.DataFrame
    whole: pd.DataFrame
    n_images: int
    notes: tuple[str, ...]


def mcnemar(gained: FloatArray, lost: FloatArray) -> FloatArray:
    """Return McNemar's exact two-sided mid-p of numbers that should be alike; shape (n,).

    References
    ----------
    Fagerland, Lydersen and Laake, "The McNemar test for binary matched-pairs data: mid-p and
    asymptotic are better than exact conditional", BMC Medical Research Methodology 13 (2013).

    Examples
    --------
    >>> mcnemar(np.array([1.0, 5.0]), np.array([6.0, 5.0])).round(4).tolist()
    [0.0703, 1.0]
    """
    from scipy.stats import binom

    n, k = gained + lost, np.minimum(gained, lost)
    p = 2.0 * binom.cdf(k, n, 0.5) - binom.pmf(k, n, 0.5)
    p = np.where(gained == lost, 1.0 - 0.5 * binom.pmf(k, n, 0.5), p)
    return np.asarray(np.where((n == 0) | (gained == lost), 1.0, np.minimum(p, 1.0)))


def paired_difference(
    gained: FloatArray, lost: FloatArray, n: int, level: float = LEVEL
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the difference of two paired shares with the interval of Agresti and Min (2005).

    Half a count is added to each of the four cells: at 90 % it holds what it promises from about
    ten images on.
    """
    total = n + 2.0
    centre = (gained - lost) / total
    spread = (gained + lost + 1.0) - (gained - lost) ** 2 / total
    half = normal_reach(level) * np.sqrt(spread) / total
    return (gained - lost) / n, centre - half, centre + half


def compare_runs(a: str | Path, b: str | Path, level: float = LEVEL) -> PairedCaptions:
    """Compare two text audits over the same keys.

    Raises
    ------
    ConfigError, DataError
        They have other concepts, no key in common, or a key twice.
    """
    sides = [_side(AuditedData.open(run)) for run in (a, b)]
    names = [side.names for side in sides]
    if names[0] != names[1]:
        raise ConfigError(f"{a} and {b} list other concepts: audit both with one list.")
    keys = sides[0].images.index.intersection(sides[1].images.index, sort=False)
    if not len(keys):
        raise DataError(f"{a} and {b} have no key in common: their captions are of other images.")
    n, k = len(keys), len(names[0])
    places = [side.tags(keys) for side in sides]
    cells = [np.unique(rows * k + concepts) for rows, concepts in places]
    both = np.intersect1d(cells[0], cells[1])
    n_a, n_b, n_both = (
        np.bincount(cell % k, minlength=k).astype(np.float64) for cell in (*cells, both)
    )
    gained, lost = n_b - n_both, n_a - n_both
    difference, low, high = paired_difference(gained, lost, n, level)
    p = mcnemar(gained, lost)
    table = pd.DataFrame(
        {
            "concept": pd.Series(names[0], dtype="str"),
            **{
                name: values.astype(np.int64)
                for name, values in (
                    ("n_a", n_a), ("n_b", n_b), ("n_both", n_both),
                    ("n_gained", gained), ("n_lost", lost),
                )
            },
            "difference": difference,
            "difference_low": low,
            "difference_high": high,
            "p": p,
            "q": false_discovery_rate(p),
        }
    )  # fmt: skip
    per_image = [np.bincount(cell // k, minlength=n).astype(np.float64) for cell in cells]
    words = [side.images.loc[keys, "words"].to_numpy(np.float64) for side in sides]
    rows = [
        _mean_row("concepts per image", per_image[0], per_image[1], level),
        _mean_row("words per caption", words[0], words[1], level),
        _plain_row("concepts that occur", float((n_a > 0).sum()), float((n_b > 0).sum())),
        _plain_row("concepts in effect", _effective(n_a), _effective(n_b)),
    ]
    notes = [f"{quantity(n, 'image has', 'images have')} both captions."]
    left = [len(side.images) - n for side in sides]
    if any(left):
        notes.append(f"{left[0]:,} are only in {a}, {left[1]:,} only in {b}: left out.")
    return PairedCaptions(concepts=table, whole=pd.DataFrame(rows), n_images=n, notes=tuple(notes))


def compare_columns(
    dataset: str | Path,
    a: str,
    b: str,
    concepts: str | Path | Sequence[str],
    *,
    caption_number: str | None = None,
    options: AuditOptions | None = None,
    progress: Progress | None = None,
) -> PairedCaptions:
    """Audit two captions of each image, and compare them.

    Parameters
    ----------
    dataset : str or Path
    a, b : str
        Caption columns; or, with `caption_number`, two values of that column in a long table.
    concepts : str, Path or sequence of str
        As for `audit`.
    caption_number : str, optional
        Column that numbers the captions of an image, of a parquet table with a row per caption.
    options : AuditOptions, optional
        Of the audits: layout, key column, spaCy pipeline.
    progress : Progress, optional
    """
    options = replace(options or AuditOptions(), text_mode="exact")
    more: dict[str, Any] = {} if progress is None else {"progress": progress}
    with ScratchFolder() as place:
        runs = []
        for name, side in (("a", a), ("b", b)):
            source: str | Path = dataset
            own = options
            if caption_number is None:
                own = replace(options, caption_column=side)
            else:
                source = _numbered(Path(dataset), caption_number, side, Path(place) / name)
            run = Path(place) / f"run-{name}"
            audit(source, concepts, run, options=own, **more)
            runs.append(run)
        compared = compare_runs(runs[0], runs[1])
    notes = [note.replace(str(runs[0]), a).replace(str(runs[1]), b) for note in compared.notes]
    return replace(compared, notes=tuple(notes))


def _numbered(path: Path, column: str, value: str, folder: Path) -> Path:
    """Write the rows of a long table whose caption has one number."""
    if path.suffix.lower() != ".parquet":
        raise ConfigError(f"--caption-number reads a parquet table. Got {path} instead.")
    table = read_parquet(path)
    if column not in table:
        raise ConfigError(f"{path} has no column {column!r}. It has {list(table)}.")
    rows = table[table[column].astype("str") == value]
    if rows.empty:
        raise ConfigError(f"No row of {path} has {column} {value}.")
    folder.mkdir()
    rows.to_parquet(folder / "captions.parquet", index=False)
    return folder / "captions.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """The captions of one audit: words by key, and its tags."""

    data: AuditedData
    images: pd.DataFrame
    names: list[str]

    def tags(self, keys: pd.Index[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return positions of keys and concepts, for every tag of these images."""
        rows, concepts = [], []
        position = pd.Index(self.images.loc[keys, "sample_id"])
        for shard in self.data.shards:
            pairs = self.data.pairs(shard.name, "text")
            places = position.get_indexer(pd.Index(pairs.sample_ids))
            rows.append(places[places >= 0].astype(np.int64))
            concepts.append(pairs.concept_ids[places >= 0])
        none = np.empty(0, dtype=np.int64)
        return np.concatenate([none, *rows]), np.concatenate([none, *concepts])


def _side(data: AuditedData) -> _Side:
    """Read the keys and the lengths of an audit's captions."""
    if "text" not in data.sides:
        raise ConfigError(f"{data.folder} did not audit captions.")
    keys: list[str] = []
    ids: list[int] = []
    words: list[int] = []
    for shard in data.shards:
        for batch in data.dataset.read(shard, frozenset({CAPTION})):
            captions = batch.captions or [None] * len(batch)
            held = [i for i, caption in enumerate(captions) if caption is not None]
            keys += [batch.keys[i] for i in held]
            ids += batch.sample_ids[held].tolist()
            words += [len((captions[i] or "").split()) for i in held]
    table = pd.DataFrame({"sample_id": ids, "words": words}, index=pd.Index(keys, dtype="str"))
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()][0]
        raise DataError(
            f"{data.folder} has several captions of the image {twice!r}: name two of them by "
            "--caption-number."
        )
    names = [str(name) for name in data.frequencies.table["concept"]]
    return _Side(data=data, images=table, names=names)


def _mean_row(what: str, a: FloatArray, b: FloatArray, level: float) -> dict[str, Any]:
    """Compare two means over the same images."""
    apart = b - a
    error = float(apart.std(ddof=1) / np.sqrt(len(apart))) if len(apart) > 1 else float("nan")
    half = normal_reach(level) * error
    middle = float(apart.mean())
    row = _plain_row(what, float(a.mean()), float(b.mean()))
    return row | {"difference_low": middle - half, "difference_high": middle + half}


def _plain_row(what: str, a: float, b: float) -> dict[str, Any]:
    ends = {"difference_low": float("nan"), "difference_high": float("nan")}
    return {"what": what, "a": a, "b": b, "difference": b - a, **ends}


def _effective(counts: FloatArray) -> float:
    """Return how many equally frequent concepts have the same entropy."""
    shares = counts[counts > 0] / counts.sum() if counts.sum() else np.empty(0)
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0

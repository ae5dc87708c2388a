"""Registry of reference counts: how often class names occur in published pretraining sets.

Counts of one corpus by several groups differ: the published joint counts of LAION-400M are more
than ten times off the text counts of two other groups for a third of ImageNet's classes. So each
count says who made it and how, and `DEFAULT_SOURCES` says which stands for a corpus.

Packages add their own through the entry point group ``conceptaudit.reference_counts``: a
`ReferenceCounts`, or a function that returns one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from importlib import metadata
from pathlib import Path

import pandas as pd

from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import FREQUENCY_COLUMNS, ConceptFrequencies

DATA = Path(__file__).parent / "data"
PREFIX = "reference:"  # what stands before a name where a file could be meant
ENTRY_POINTS = "conceptaudit.reference_counts"

# Image-caption pairs of each corpus as its authors state them; what was downloaded and counted was
# less, and was not published.
CORPUS_SAMPLES: Mapping[str, int] = {
    "cc3m": 3_300_000,
    "cc12m": 12_000_000,
    "yfcc15m": 15_000_000,
    "synthci30m": 30_000_000,
    "laion400m": 400_000_000,
    "laion2b": 2_300_000_000,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceCounts:
    """Published counts of class names in one corpus.

    Parameters
    ----------
    name : str
        ``corpus/source``.
    n_samples : int or None
        Pairs of the corpus, roughly; None where unknown.
    columns : tuple of str
        Counts that it holds.
    by, method, licence, url : str
        Who counted, how, and under what terms the numbers may be used.
    path : Path
        A parquet table with ``dataset``, ``concept`` and, per count, a column ``"{count}
        {corpus}"``, or the count's own name.
    sha256 : str
        Of the file; counts of a file that differs are refused.
    """

    name: str
    n_samples: int | None
    columns: tuple[str, ...]
    by: str
    method: str
    licence: str
    url: str
    path: Path
    sha256: str

    @property
    def corpus(self) -> str:
        """The pretraining set."""
        return self.name.partition("/")[0]

    @property
    def source(self) -> str:
        """Who counted, in a word."""
        return self.name.partition("/")[2]

    def frequencies(self) -> ConceptFrequencies:
        """Read the counts."""
        table = _table(self.path, self.sha256)
        given = {
            column: next(name for name in (f"{column} {self.corpus}", column) if name in table)
            for column in self.columns
        }
        counts = table[["dataset", "concept", *given.values()]].rename(
            columns={name: column for column, name in given.items()}
        )
        counts = counts[counts[list(given)].notna().any(axis=1)].reset_index(drop=True)
        integers = {c: "Int64" for c in given if c in FREQUENCY_COLUMNS}
        return ConceptFrequencies(counts.astype(integers), self.corpus)


@cache
def _table(path: Path, digest: str) -> pd.DataFrame:
    found = sha256(path.read_bytes()).hexdigest()
    if found != digest:
        raise DataError(
            f"{path} is not the registered file of reference counts: its SHA-256 begins with "
            f"{found[:12]}, not {digest[:12]}. Install the package again."
        )
    return pd.read_parquet(path)


_PAPER = ReferenceCounts(
    name="paper",
    n_samples=None,
    columns=("n_text", "n_image", "n_joint"),
    by="Udandarao et al., arXiv 2404.04125",
    method="captions: bag of spaCy lemmas, nouns only; images: RAM++ tags above 0.7; joint: both. "
    "Terms that the index lacks were dropped",
    licence="MIT",
    url="github.com/bethgelab/frequency_determines_performance",
    path=DATA / "paper.parquet",
    sha256="7dd886b1f410b2ead92ea302a15257750711db0c09d9157a1c085dfa1f68be74",
)
_CLIP_BEYOND_TAIL = ReferenceCounts(
    name="clip-beyond-tail",
    n_samples=None,
    columns=("n_text",),
    by="Wen et al., CLIP beyond tail",
    method="captions: bag of lemmas, some exclusions made by hand",
    licence="MIT",
    url="github.com/CVMI-Lab/clip-beyond-tail",
    path=DATA / "clip_beyond_tail.parquet",
    sha256="2df46359481cb274064dd3d3895916f21966e78d0e4260ac9420b25dc189b330",
)
_SWAT = ReferenceCounts(
    name="swat",
    n_samples=None,
    columns=("n_text", "n_relevant"),
    by="Liu et al., SWAT",
    method="captions: strings of the most common name and its synonyms; n_relevant: the share of "
    "them that a language model judged relevant",
    licence="MIT",
    url="github.com/tian1327/SWAT",
    path=DATA / "swat.parquet",
    sha256="32e893677d708be0a1c0fd5af2621a72b4b6f10384fc001d4fe934003e09aa2e",
)
_CORPORA = {
    _PAPER: ("cc3m", "cc12m", "yfcc15m", "synthci30m", "laion400m"),
    _CLIP_BEYOND_TAIL: ("cc12m", "yfcc15m", "laion400m", "laion2b"),
    _SWAT: ("laion400m",),
}

# Which source stands for a corpus where several counted it, first to last: the order of held-out
# accuracy (``docs/benchmarks-curves.md``).
DEFAULT_SOURCES = ("clip-beyond-tail", "paper", "swat")


@cache
def registry() -> Mapping[str, ReferenceCounts]:
    """Return all reference counts by name, ours first."""
    counts = [
        replace(source, name=f"{corpus}/{source.name}", n_samples=CORPUS_SAMPLES[corpus])
        for source, corpora in _CORPORA.items()
        for corpus in corpora
    ]
    for point in metadata.entry_points(group=ENTRY_POINTS):
        loaded = point.load()
        counts.append(loaded() if callable(loaded) else loaded)
    return {one.name: one for one in counts}


def reference_counts(name: str, column: str | None = None) -> ReferenceCounts:
    """Look reference counts up."""
    short = name.removeprefix(PREFIX)
    names = [short, *(f"{short}/{source}" for source in DEFAULT_SOURCES)]
    names += [other for other in registry() if other.partition("/")[0] == short]
    for one in (registry()[other] for other in names if other in registry()):
        if column is None or column in one.columns:
            return one
    held = f" with {column}" if column else ""
    raise ConfigError(
        f"There are no reference counts {short!r}{held}. Known are {', '.join(registry())}; see "
        "'conceptaudit reference list'."
    )


def reference_frequencies(name: str, column: str | None = None) -> ConceptFrequencies:
    """Return reference counts by evaluation set and class; see `reference_counts`."""
    return reference_counts(name, column).frequencies()

"""The names that conceptaudit writes, by kind of run folder: nothing else is ever removed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

# Written last: what a finished run is, and the digest of every file that belongs to it.
MANIFEST = "manifest.json"

# Written first into a run folder: which run this is, so that it is never mixed with another.
STARTED = "run.json"

LOCK = ".lock"
# Begin of the names of files that say which parts of a run are finished; a whole run has none.
MARK = ".part-"

# Written by `runlog`: the only file of a run with clocks in it, so no manifest names it.
LOG = "log.jsonl"

_OWN = re.compile(
    r"run\.json|manifest\.json|log\.jsonl|\.part-\d+-of-\d+\.json|\.lock(-\d+-of-\d+)?"
)
_PARTIAL = re.compile(r"\.(?P<name>.+?)(\.\d+)?\.partial")
# `datasets` names shards by file and row; imported tags are one record of their own.
_SHARD_FILE = re.compile(r"(?P<shard>\d{7}-\d{13}|tags)(\.\w+)*\.(json|parquet|npy)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The files of one kind of run folder."""

    kind: str  # as ``run.json`` and ``manifest.json`` say it
    noun: str  # the kind in a message: ``"an audit"``
    # paths below the folder that every run of the kind may write, or patterns of such that are like
    # nobody else's
    files: tuple[str, ...] = ()
    # patterns of paths that depend on the data: such a file is ours where a manifest names it
    listed: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()  # patterns of folders that hold shard records
    # folders that hold what the records vouch for, where that is not beside the record
    beside: tuple[str, ...] = ()

    def is_stage(self, folder: str) -> bool:
        """Whether a folder, by its path below the run folder, holds shard records."""
        return any(fnmatchcase(folder, pattern) for pattern in self.stages)

    def is_file(self, path: str) -> bool:
        """Whether a path is that of a file which every run of the kind may write."""
        return path in self.files or _matches(path, self.files)

    def is_listed(self, path: str) -> bool:
        """Whether a manifest of this kind may name a path; ``*`` stands for no ``/``."""
        return _matches(path, self.listed)

    def place(self, stage: str, name: str) -> str:
        """Path below the run folder of a file that a record of a stage names."""
        for folder in self.beside:
            if name.startswith(f"{folder}_"):
                return f"{folder}/{name}"
        return f"{stage}/{name}"

    def folders(self) -> tuple[str, ...]:
        """Patterns of the folders below the run folder, each before those that lie in it."""
        inner = [f"{folder}/*" for folder in (*self.stages, *self.beside)]
        paths = (*self.files, *self.listed, *inner)
        parents = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
        return tuple(sorted(parents - {"."}))


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    depth = path.count("/")
    return any(fnmatchcase(path, one) and one.count("/") == depth for one in patterns)


def is_own(name: str) -> bool:
    """Whether a name is one of those that every run folder has, whatever its kind."""
    return _OWN.fullmatch(name) is not None


def shard_of(name: str) -> str | None:
    """Name of the shard that a file of a stage belongs to, by its name; None for a foreign one.

    Examples
    --------
    >>> shard_of("0000001-0000000000040.drops.parquet"), shard_of("notes.json")
    ('0000001-0000000000040', None)
    """
    match = _SHARD_FILE.fullmatch(name)
    return None if match is None else match["shard"]


def whole_name(partial: str) -> str | None:
    """Name of the file of which another one is the beginning; None where it is none.

    Examples
    --------
    >>> whole_name(".fit.csv.2.partial"), whole_name("film.partial")
    ('fit.csv', None)
    """
    match = _PARTIAL.fullmatch(partial)
    return None if match is None else match["name"]


_EMBEDDED = ("img_emb", "metadata", "text_emb", "dropped")
_ACCURACIES = ("accuracies.parquet", "accuracies.csv", "overall.csv")
_FIGURES = ("curve", "datasets", "slopes", "predicted", "residuals", "calibration")

_FIVE = "[0-9]" * 5
_LAB_DATA = (
    "lab.json", "truth.parquet", f"{_FIVE}.tar", f"{_FIVE}.parquet", f"{_FIVE}_stats.json",
)  # fmt: skip
_LAB_CLASSES = ("lab.json", "classnames.txt", f"*/{_FIVE}.jpg")

_KINDS = (
    Layout(
        kind="audit",
        noun="an audit",
        files=(
            "frequencies.parquet", "frequencies.csv", "alignment.json", "concepts.json",
            "concept_vectors.npy", "calibration.json", "paper_terms.json",
            "frequencies_by_language.parquet", "frequencies_by_language.csv", "languages.json",
            "duplicates.parquet", "evidence.parquet", "cooccurrence.parquet",
            "image_tags_unknown_keys.parquet", "image_tags_unknown_concepts.csv",
            "text_strata.parquet", "text_estimate.json", "image_cells.parquet", "rollup.csv",
            "aliases.csv", "columns.csv", "columns_values.parquet",
        ),
        stages=(
            "text", "mentions", "terms", "languages", "embeddings", "image", "image_tags", "strata",
            "counts", "pairs", "counts_by_language", "columns",
        ),
    ),
    Layout(kind="embeddings", noun="embeddings", stages=("shards",), beside=_EMBEDDED),
    Layout(
        kind="calibration",
        noun="a calibration's work",
        stages=("text", "mentions", "embeddings"),
    ),
    Layout(
        kind="vocab",
        noun="a listing's work",
        files=("listing.parquet", "listing.csv"),
        stages=("nouns",),
    ),
    Layout(
        kind="evaluation",
        noun="an evaluation",
        files=(*_ACCURACIES, "confusions.csv", "labels.parquet"),
        listed=("clip_benchmark/*.json", "guesses-*.dropped.parquet"),
        stages=("guesses-*",),
    ),
    Layout(
        kind="retrieval",
        noun="a retrieval",
        files=_ACCURACIES,
        listed=("clip_benchmark/*.json",),
        stages=("pairs-*",),
    ),
    Layout(kind="index", noun="an index", files=("index.faiss", "samples.parquet")),
    Layout(
        kind="curve",
        noun="a curve",
        files=(
            "curve.json", "fit.csv", "datasets.csv", "unmatched.csv", "folded.csv",
            "comparison.csv", *(f"{name}{end}" for name in _FIGURES for end in (".png", ".svg")),
        ),
    ),
    Layout(
        kind="longtail",
        noun="a long-tail set",
        files=(
            "manifest.csv", "classes.csv", "removed.csv", "selection.csv", "classnames.txt",
            "zeroshot_classification_templates.txt", "README.md", "test/nshards.txt",
        ),
        listed=("images/*/*", "test/*.tar", "contact_sheet*.png"),
    ),
    Layout(
        kind="lab",
        noun="simulated data",
        files=(*_LAB_DATA, *_LAB_CLASSES),
    ),
    Layout(
        kind="demo",
        noun="a demo",
        files=(
            "accuracies.csv", "predictions.csv", "report.html", "curve/curve.json",
            "curve/curve.png",
            *(f"{place}/{name}" for place in ("data", "pool") for name in _LAB_DATA),
            *(f"test/{name}" for name in _LAB_CLASSES),
        ),
    ),
    Layout(
        kind="curation",
        noun="a curated set",
        files=(
            "kept.parquet", "account.csv", "expected.csv", "summary.csv", "predicted.csv",
            "predicted_means.csv", "uids.npy", "webdataset_shards.csv",
            "webdataset_train_data.txt", "img2dataset.parquet", "README.md", "scores-*.npy",
            "removed-*.npy", "copies-*.npy",
        ),
        listed=("data/train-*.parquet",),
        stages=tuple(
            f"{stage}-*"
            for stage in ("screened", "distance", "features", "density", "left", "order", "kept")
        ),
    ),
    Layout(kind="longtail-work", noun="a long-tail set's work", stages=("shards/pool",)),
)  # fmt: skip

LAYOUTS = {layout.kind: layout for layout in _KINDS}

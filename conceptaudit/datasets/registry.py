"""The layouts that a dataset can have: our own, and those that installed packages add.

A package adds one with an entry point of the group ``conceptaudit.layouts`` that names a `Layout`.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache

from conceptaudit.datasets._columns import Choice
from conceptaudit.datasets._embedding_files import find_pairs
from conceptaudit.datasets._files import suffix
from conceptaudit.datasets._groups import IMAGE_ENDINGS
from conceptaudit.datasets._listing import Listing, is_text, many_lines, text_files
from conceptaudit.datasets._table_rows import RowRules
from conceptaudit.datasets.base import DEFAULT_SHARD_ROWS, Dataset
from conceptaudit.datasets.coco import coco_files, is_coco, open_coco
from conceptaudit.datasets.embeddings import open_embeddings
from conceptaudit.datasets.files import open_files
from conceptaudit.datasets.table import SUFFIXES, open_table
from conceptaudit.datasets.webdataset import ENDINGS, open_webdataset
from conceptaudit.errors import ConfigError
from conceptaudit.plugins import installed

GROUP = "conceptaudit.layouts"

# What every run writes into its folder before anything else.
_OURS = frozenset({"run.json", "log.jsonl"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a dataset is to be read; see `conceptaudit.datasets.open_dataset`."""

    choice: Choice = field(default_factory=Choice)
    rules: RowRules = field(default_factory=RowRules)
    images: str | None = None
    embedding_array: str | None = None
    shard_rows: int = DEFAULT_SHARD_ROWS


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One way in which datasets lie on disk.

    Parameters
    ----------
    name : str
        What ``--layout`` calls it.
    looks : str
        What such a dataset holds, for messages.
    claims : callable
        Whether a listing is of this layout; layouts are asked in order, and the first one takes it.
    open : callable
        Opens a listing at a location.
    takes : frozenset of str
        Parameters of `open_dataset` that it heeds, beside those that all do.
    """

    name: str
    looks: str
    claims: Callable[[Listing], bool]
    open: Callable[[Listing, str, Reading], Dataset]
    takes: frozenset[str] = frozenset()


def _endings(listing: Listing) -> set[str]:
    return {suffix(file.name) for file in listing.files}


def _is_webdataset(listing: Listing) -> bool:
    return any(file.name.lower().endswith(ENDINGS) for file in listing.files)


def _is_coco(listing: Listing) -> bool:
    return any(is_coco(file.path) for file in coco_files(listing, named_so=True))


def _has_images(listing: Listing) -> bool:
    return any(ending[1:] in IMAGE_ENDINGS for ending in _endings(listing))


def _tables(listing: Listing) -> list[str]:
    """Tables of a listing that are no sidecars of its folders, JSON left out."""
    names = [file.name for file in listing.files]
    sidecars = _sidecars(names)
    return [
        name
        for name in names
        if suffix(name) in SUFFIXES and suffix(name) != ".json" and name not in sidecars
    ]


def _is_table(listing: Listing) -> bool:
    if listing.is_file:
        [file] = listing.files
        return suffix(file.name) in SUFFIXES or is_text(file)
    if _tables(listing):
        return True
    if _has_images(listing):
        return False
    endings = _endings(listing)
    return (".json" in endings and ".txt" not in endings) or many_lines(text_files(listing))


def _is_files(listing: Listing) -> bool:
    return not listing.is_file and (_has_images(listing) or ".txt" in _endings(listing))


_COLUMNS = frozenset({"caption_column", "key_column", "url_column"})

OWN = (
    Layout(
        name="embeddings",
        looks="img_emb/*.npy embeddings with metadata/*.parquet",
        claims=lambda listing: not listing.is_file and bool(find_pairs(listing)[0]),
        open=lambda listing, location, reading: open_embeddings(
            listing,
            location,
            reading.choice,
            shard_rows=reading.shard_rows,
            embedding_array=reading.embedding_array,
        ),
        takes=_COLUMNS | {"embedding_array"},
    ),
    Layout(
        name="webdataset",
        looks=".tar archives",
        claims=_is_webdataset,
        open=lambda _, location, reading: open_webdataset(location, reading.choice),
        takes=frozenset({"caption_column", "image_column"}),
    ),
    Layout(
        name="coco",
        looks="COCO captions",
        claims=_is_coco,
        open=lambda listing, location, reading: open_coco(
            listing, location, reading.images, reading.shard_rows
        ),
        takes=frozenset({"images"}),
    ),
    Layout(
        name="table",
        looks=f"tables ({', '.join(SUFFIXES)}, or a caption per line)",
        claims=_is_table,
        open=lambda listing, location, reading: open_table(
            listing, location, reading.choice, reading.shard_rows, reading.rules
        ),
        takes=_COLUMNS | {"image_column", "language_column", "languages", "unit"},
    ),
    Layout(
        name="files",
        looks="images with .txt captions",
        claims=_is_files,
        open=lambda listing, location, reading: open_files(
            listing, location, reading.choice.caption, reading.shard_rows
        ),
        takes=frozenset({"caption_column"}),
    ),
)
LAYOUTS = tuple(layout.name for layout in OWN)  # names of our own layouts


@cache
def known_layouts() -> dict[str, Layout]:
    """Find all layouts by name, those of other packages first."""
    others = [layout for _, layout in installed(GROUP, Layout)]
    return {layout.name: layout for layout in (*others, *OWN)}


def detect_layout(listing: Listing, location: str) -> Layout:
    """Find the layout of a listing."""
    if not listing.files:
        raise ConfigError(
            "The 'location' parameter of open_dataset must hold files. "
            f"Got {location!r} instead, which is empty."
        )
    claims = (layout for layout in known_layouts().values() if layout.claims(listing))
    layout = next(claims, None)
    if (
        (layout is None or layout.name != "embeddings")
        and not listing.is_file
        and {file.name for file in listing.files} >= _OURS
    ):
        raise ConfigError(
            f"{location!r} is a run of conceptaudit and no dataset. Name the data that it was made "
            "from; if it is to become embeddings, run 'conceptaudit embed' to its end first."
        )
    if layout is None:
        raise ConfigError(_unknown(listing, location))
    if layout.name == "table" and not listing.is_file and _has_images(listing):
        raise ConfigError(
            f"{location!r} holds both images and tables ({', '.join(_tables(listing)[:3])}). "
            "--layout table reads the tables' captions, --layout files the images."
        )
    return layout


def _sidecars(names: list[str]) -> set[str]:
    """Tables that describe a folder beside them, as img2dataset's do.

    Where one does, its numbered neighbours belong to shards whose downloads all failed.
    """
    folders = {name.rpartition("/")[0] for name in names}
    tables = [name for name in names if suffix(name) == ".parquet"]
    places = {table.rpartition("/")[0] for table in tables if _stem(table) in folders}
    return {
        table
        for table in tables
        if _stem(table) in folders
        or (table.rpartition("/")[0] in places and _stem(table).rpartition("/")[2].isdigit())
    }


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _unknown(listing: Listing, location: str) -> str:
    return " ".join(_why_unknown(listing, location))


def _why_unknown(listing: Listing, location: str) -> Iterator[str]:
    endings = Counter(suffix(file.name) or "no ending" for file in listing.files)
    arrays = [file.name for file in listing.files if suffix(file.name) in (".npy", ".npz")]
    if listing.is_file and arrays:
        yield (
            "The 'location' parameter of open_dataset must be the folder that holds embeddings "
            f"and metadata together. Got one array, {location!r}, instead."
        )
        return
    found = ", ".join(f"{count:,} × {ending}" for ending, count in endings.most_common(5))
    looks = [layout.looks for layout in known_layouts().values()]
    yield f"The layout of {location!r} is not known: found {found}."
    if arrays:
        others = [file.name for file in listing.files if file.name not in arrays]
        shown = ", ".join([arrays[0], *others[:2]])
        yield (
            f"Embeddings ({arrays[0]}) are read from img_emb/img_emb_0.npy with "
            "metadata/metadata_0.parquet, from image_embeddings.npy with metadata.parquet, or "
            f"from a .npz and a .parquet of the same name: rename {shown}."
        )
    yield (
        f"It must hold {', '.join(looks[:-1])} or {looks[-1]}; name one of "
        f"{list(known_layouts())} with layout (--layout)."
    )

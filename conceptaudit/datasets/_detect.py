"""Which layout a location has, decided by names and, for JSON, by a look inside."""

import re
from collections import Counter

from conceptaudit.datasets._coco_json import is_coco
from conceptaudit.datasets._files import File, suffix
from conceptaudit.datasets._groups import IMAGE_ENDINGS
from conceptaudit.datasets._listing import Listing
from conceptaudit.datasets._pairs import find_pairs
from conceptaudit.datasets.table import SUFFIXES
from conceptaudit.datasets.webdataset import ENDINGS
from conceptaudit.errors import ConfigError

LAYOUTS = ("table", "webdataset", "files", "embeddings", "coco")

_OURS = frozenset({"run.json", "log.jsonl"})
"""What every run writes into its folder before anything else."""

_COCO = re.compile(r"(?:.*/)?(?:captions_[^/]*|dataset_[^/]*|[^/]*karpathy[^/]*)\.json")


def detect_layout(listing: Listing, location: str) -> str:
    """Name the layout of a listing.

    Raises
    ------
    ConfigError
        The location is empty, or holds nothing or too much that is known.
    """
    if not listing.files:
        raise ConfigError(
            "The 'location' parameter of open_dataset must hold files. "
            f"Got {location!r} instead, which is empty."
        )
    if listing.is_file:
        return _of_file(listing, location)
    names = [file.name for file in listing.files]
    if find_pairs(listing)[0]:
        return "embeddings"
    if set(names) >= _OURS:
        raise ConfigError(
            f"{location!r} is a run of conceptaudit and no dataset. Name the data that it was made "
            "from; if it is to become embeddings, run 'conceptaudit embed' to its end first."
        )
    if any(name.lower().endswith(ENDINGS) for name in names):
        return "webdataset"
    if any(_COCO.fullmatch(name) and is_coco(file.path) for name, file in _json_files(listing)):
        return "coco"
    return _of_loose_files(names, location)


def _of_loose_files(names: list[str], location: str) -> str:
    has_images = any(suffix(name)[1:] in IMAGE_ENDINGS for name in names)
    sidecars = _sidecars(names)
    tables = [
        name
        for name in names
        if suffix(name) in SUFFIXES and suffix(name) != ".json" and name not in sidecars
    ]
    if has_images and tables:
        raise ConfigError(
            f"{location!r} holds both images and tables ({', '.join(tables[:3])}). Set layout="
            "'table' to read the tables' captions, or layout='files' to read the images."
        )
    if has_images:
        return "files"
    endings = {suffix(name) for name in names}
    if not tables and ".txt" in endings:
        return "files"
    if tables or ".json" in endings:
        return "table"
    raise ConfigError(_unknown(names, location))


def _of_file(listing: Listing, location: str) -> str:
    file = listing.files[0]
    name = file.name.lower()
    if name.endswith(ENDINGS):
        return "webdataset"
    if suffix(name) == ".json":
        return "coco" if is_coco(file.path) else "table"
    if suffix(name) in SUFFIXES:
        return "table"
    if name.endswith((".npy", ".npz")):
        raise ConfigError(
            "The 'location' parameter of open_dataset must be the folder that holds embeddings "
            f"and metadata together. Got one array, {location!r}, instead."
        )
    raise ConfigError(_unknown([file.name], location))


def _json_files(listing: Listing) -> list[tuple[str, File]]:
    return [(file.name, file) for file in listing.files if suffix(file.name) == ".json"]


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


def _unknown(names: list[str], location: str) -> str:
    endings = Counter(suffix(name) or "no ending" for name in names)
    found = ", ".join(f"{count:,} × {ending}" for ending, count in endings.most_common(5))
    return (
        f"The layout of {location!r} is not known: found {found}. It must hold tables "
        f"({', '.join(SUFFIXES)}), .tar archives, images with .txt captions, img_emb/*.npy "
        f"embeddings or COCO captions; name one of {list(LAYOUTS)} with layout (--layout)."
    )

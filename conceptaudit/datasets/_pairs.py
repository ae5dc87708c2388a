"""Embedding files and their metadata, paired by the index in their names."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from conceptaudit.datasets._files import File, suffix
from conceptaudit.datasets._listing import Listing
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError

_ARRAY = re.compile(r"(?:(?P<folder>.*)/)?img_emb/img_emb_?(?P<index>\d+)\.npy")
_METADATA = re.compile(r"(?:(?P<folder>.*)/)?metadata/metadata_?(?P<index>\d+)\.parquet")
_BARE = re.compile(r"(?:(?P<folder>.*)/)?(?:image|img)_(?:embeddings?|emb)\.npy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One array of image embeddings and the table whose rows are in the same order."""

    name: str
    array: File
    metadata: File | None


def find_pairs(listing: Listing) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    """Pair embedding files with metadata files; sorted by folder, then by index.

    Knows clip-retrieval's ``img_emb/img_emb_{i}.npy``, a bare ``image_embeddings.npy`` with
    ``metadata.parquet``, and DataComp's ``{uid}.npz`` with ``{uid}.parquet``.
    """
    names = {file.name: file for file in listing.files}
    arrays = _by_index(names, _ARRAY)
    if arrays:
        metadata = _by_index(names, _METADATA)
        folders = {folder for folder, _ in arrays}
        lonely = [
            table.name
            for (folder, index), table in sorted(metadata.items())
            if folder in folders and (folder, index) not in arrays
        ]
        notes = []
        if lonely:
            notes.append(
                f"{quantity(len(lonely), 'metadata file has', 'metadata files have')} no "
                f"embedding file of the same index and were ignored ({', '.join(lonely[:3])})."
            )
        return (
            tuple(
                Pair(name=array.name, array=array, metadata=metadata.get(place))
                for place, array in sorted(arrays.items())
            ),
            tuple(notes),
        )
    pairs = tuple(_named_alike(names))
    paired = {file.name for pair in pairs for file in (pair.array, pair.metadata) if file}
    lonely = [n for n in sorted(names) if n.endswith((".npz", ".parquet")) and n not in paired]
    if not pairs or not lonely:
        return pairs, ()
    note = (
        f"{quantity(len(lonely), 'file has', 'files have')} no partner of the same name and "
        "were ignored "
    )
    return pairs, (note + f"({', '.join(lonely[:3])}).",)


def _by_index(names: dict[str, File], pattern: re.Pattern[str]) -> dict[tuple[str, int], File]:
    found: dict[tuple[str, int], File] = {}
    for name, file in names.items():
        match = pattern.fullmatch(name)
        if match is None:
            continue
        place = (match["folder"] or "", int(match["index"]))
        if place in found:
            raise DataError(
                f"Embedding files are paired by their index. {found[place].name} and {name} have "
                "the same one; remove one of them."
            )
        found[place] = file
    return found


def _named_alike(names: dict[str, File]) -> Iterator[Pair]:
    for name, file in sorted(names.items()):
        bare = _BARE.fullmatch(name)
        if bare is not None:
            table = f"{bare['folder']}/metadata.parquet" if bare["folder"] else "metadata.parquet"
            yield Pair(name=name, array=file, metadata=names.get(table))
        elif name.endswith(".npz") and name.removesuffix(".npz") + ".parquet" in names:
            table = name.removesuffix(".npz") + ".parquet"
            yield Pair(name=name, array=file, metadata=names[table])


_VECTORS = re.compile(r"(?:.*/)?(?:img_emb|text_emb|image_emb\w*|text_emb\w*)(?:/.*)?(?:\.np[yz])?")
_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".json", ".npz", "")
_OTHERS = re.compile(r"(?:.*/)?(?:stats/.*|dropped/.*|manifest\.json|run\.json|README.*|LICENSE.*)")


def stray_metadata(listing: Listing) -> tuple[str, ...]:
    """Name files that may be the metadata of embeddings and are not read, with what to do."""
    pairs, _ = find_pairs(listing)
    paired = {file.name for pair in pairs for file in (pair.array, pair.metadata) if file}
    arrays = [pair.array.name for pair in pairs if pair.metadata is None]
    strays = [
        file.name
        for file in listing.files
        if file.name not in paired
        and suffix(file.name) in _TABLES
        and not _OTHERS.fullmatch(file.name)
        and (suffix(file.name) == ".npz" or not _VECTORS.fullmatch(file.name))
    ]
    if not arrays or not strays:
        return ()
    wanted = metadata_of(arrays[0])
    name, ending = strays[0], suffix(strays[0])
    if ending in ("", ".parquet"):
        remedy = f"If it is parquet, rename it to {wanted}."
    elif ending == ".npz":
        remedy = f"Write its captions and keys to {wanted}."
    else:
        read = {".csv": "read_csv({!r})", ".tsv": "read_csv({!r}, sep='\\t')"}.get(
            ending, "read_json({!r}, lines=" + str(ending != ".json") + ")"
        )
        remedy = f"Write it as parquet: pandas.{read.format(name)}.to_parquet({wanted!r})."
    more = f" ({quantity(len(strays), 'such file')})" if len(strays) > 1 else ""
    return (f"{name} lies beside the embeddings and is not read{more}. {remedy}",)


def metadata_of(array: str) -> str:
    """Name the table that belongs to an embedding file.

    Examples
    --------
    >>> metadata_of("img_emb/img_emb_3.npy"), metadata_of("a/image_embeddings.npy")
    ('metadata/metadata_3.parquet', 'a/metadata.parquet')
    """
    match = _ARRAY.fullmatch(array)
    if match is not None:
        folder = f"{match['folder']}/" if match["folder"] else ""
        return f"{folder}metadata/metadata_{match['index']}.parquet"
    folder = array.rpartition("/")[0]
    return f"{folder}/metadata.parquet" if folder else "metadata.parquet"


def require_pairs(listing: Listing, location: str) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    """Find the pairs, or say what an embedding folder should look like."""
    pairs, notes = find_pairs(listing)
    if not pairs:
        shown = [file.name for file in listing.files[:5]]
        raise ConfigError(
            "The 'location' parameter of open_dataset must be a folder with img_emb/img_emb_0.npy "
            "and metadata/metadata_0.parquet, with image_embeddings.npy and metadata.parquet, or "
            f"with .npz and .parquet of equal names, for layout 'embeddings'. Got {location!r} "
            f"with {shown} instead."
        )
    return pairs, notes

"""Files of embeddings: arrays paired with metadata by the index in their names, read in blocks.

Arrays are read with a file handle and not a memory map: the same code then serves URLs and
``.npz``, and the pages of a map count as memory of the process, which grows to the size of the
file.
"""

import re
import tokenize
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy_format

from conceptaudit.datasets._files import File, open_file, reading, stat_file, suffix
from conceptaudit.datasets._listing import Listing
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import Float32Array

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


_HEADERS = {
    (1, 0): npy_format.read_array_header_1_0,
    (2, 0): npy_format.read_array_header_2_0,
}

# numpy parses the header as a Python literal, after mending it with the tokenizer.
_BAD_HEADER = (
    ValueError, KeyError, TypeError, EOFError, SyntaxError, RecursionError, tokenize.TokenError,
)  # fmt: skip


# A header of two dimensions has some hundred bytes; numpy parses 10,000 at most.
MAX_HEADER_BYTES = 1 << 16

MAX_DIMENSION = 1 << 16  # numbers in an embedding; the largest models give some ten thousand


@dataclass(slots=True, kw_only=True)
class ArrayReader:
    """An open array: its shape and type, and the stream that stands at its next row.

    An array that is stored column by column (`by_column`) is read from the place of its first
    number, `start`, and `row` says which row is next.
    """

    path: str
    rows: int
    dimension: int
    dtype: np.dtype[Any]
    stream: IO[bytes]
    by_column: bool = False
    start: int = 0
    row: int = 0

    def skip(self, n: int) -> None:
        """Move n rows forward."""
        self.row += n
        if not self.by_column:
            self.stream.seek(n * self.dimension * self.dtype.itemsize, 1)

    def take(self, n: int) -> Float32Array:
        """Read the next n rows as float32, shape (n, dimension)."""
        self.row += n
        if self.by_column:
            columns = [self._read(n, self.row - n + j * self.rows) for j in range(self.dimension)]
            return _float32(np.stack(columns, axis=1))
        wanted = n * self.dimension * self.dtype.itemsize
        content = self.stream.read(wanted)
        if len(content) < wanted:
            raise DataError(f"The array {self.path} ends {wanted - len(content):,} bytes early.")
        return _float32(np.frombuffer(content, dtype=self.dtype).reshape(n, self.dimension))

    def _read(self, n: int, first: int) -> npt.NDArray[Any]:
        """Read n numbers from the one at `first` on."""
        self.stream.seek(self.start + first * self.dtype.itemsize)
        return np.frombuffer(self.stream.read(n * self.dtype.itemsize), dtype=self.dtype)


def _float32(block: npt.NDArray[Any]) -> Float32Array:
    with np.errstate(over="ignore", invalid="ignore"):
        return block.astype(np.float32)


@contextmanager
def open_array(path: str, member: str | None = None) -> Iterator[ArrayReader]:
    """Open an embedding array without loading it."""
    with ExitStack() as stack:
        stack.enter_context(reading(path, "embedding array"))
        stream: IO[bytes] = stack.enter_context(open_file(path))
        size = stat_file(path).size
        if member is not None:
            archive = stack.enter_context(zipfile.ZipFile(stream))
            try:
                size = archive.getinfo(f"{member}.npy").file_size
                stream = stack.enter_context(archive.open(f"{member}.npy"))
            except (KeyError, RuntimeError) as error:  # encrypted, or an unknown compression
                raise DataError(
                    f"The array {member!r} of {path} cannot be read: {error}"
                ) from error
        yield _reader(stream, size, path if member is None else f"{path}[{member}]")


def _reader(stream: IO[bytes], size: int, path: str) -> ArrayReader:
    try:
        version = npy_format.read_magic(stream)
        _check_header(stream, version)
        shape, by_column, dtype = _HEADERS[version](stream)
    except _BAD_HEADER as error:
        raise DataError(
            f"The file {path} ({size:,} bytes) is no .npy array: {error}. It is truncated or was "
            "written by something else; write it again with numpy.save."
        ) from error
    if dtype.hasobject:
        raise DataError(
            f"The array {path} holds Python objects (dtype {dtype}), which are never loaded "
            "because that runs code from the file. Save it again as float16 or float32."
        )
    if dtype.byteorder == ">":
        raise DataError(
            f"The array {path} says that its numbers are big-endian ({dtype.str}), which nobody "
            "writes today: its header is damaged. Fetch or write it again, as '<f2' or '<f4'."
        )
    if dtype.kind != "f" or len(shape) != 2 or min(shape) < 0 or shape[1] == 0:
        raise DataError(
            f"The array {path} must be of shape (rows, dimension) and floating point. "
            f"Got shape {shape}, dtype {dtype} instead."
        )
    if shape[1] > MAX_DIMENSION:
        raise DataError(
            f"The array {path} claims {shape[1]:,} numbers per row, which no embedding has. Its "
            "header is damaged, or it is another array; fetch or write it again."
        )
    if by_column and isinstance(stream, zipfile.ZipExtFile):
        raise DataError(
            f"The array {path} is stored column by column, which cannot be read in pieces out of a "
            ".npz. Write it again row by row: numpy.savez(PATH, NAME=numpy.ascontiguousarray(A))."
        )
    expected = stream.tell() + shape[0] * shape[1] * dtype.itemsize
    if size < expected:
        raise DataError(
            f"The array {path} is truncated: {quantity(shape[0], 'row')} of {shape[1]} {dtype} "
            f"need {expected:,} bytes. Got {size:,} bytes instead; fetch or write it again."
        )
    if size > expected:
        raise DataError(
            f"The array {path} is damaged: after its {quantity(shape[0], 'row')} of {shape[1]} "
            f"{dtype} come {size - expected:,} bytes more. Fetch or write it again."
        )
    return ArrayReader(
        path=path,
        rows=shape[0],
        dimension=shape[1],
        dtype=dtype,
        stream=stream,
        by_column=by_column,
        start=stream.tell(),
    )


def _check_header(stream: IO[bytes], version: tuple[int, int]) -> None:
    """Refuse a long header before numpy reads it: its length has up to four bytes."""
    n_bytes = 2 if version == (1, 0) else 4
    length = int.from_bytes(stream.read(n_bytes), "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"its header claims {length:,} bytes")
    stream.seek(-n_bytes, 1)


def array_names(path: str) -> list[str]:
    """Names of the arrays in a ``.npz`` file."""
    with (
        reading(path, "embedding archive"),
        open_file(path) as stream,
        zipfile.ZipFile(stream) as archive,
    ):
        return [name.removesuffix(".npy") for name in archive.namelist()]


# Names of image embeddings in DataComp's `.npz` files, then in others.
IMAGE_ARRAYS = ("b32_img", "l14_img", "image_embeddings", "img_emb")


def choose_array(path: str, wanted: str | None) -> str:
    """Choose the array of a ``.npz`` file that holds the image embeddings."""
    found = array_names(path)
    if wanted is not None and wanted not in found:
        raise ConfigError(
            f"The 'embedding_array' parameter of open_dataset must be one of {found} for {path}. "
            f"Got {wanted!r} instead."
        )
    if wanted is not None:
        return wanted
    known = [name for name in IMAGE_ARRAYS if name in found] or (found if len(found) == 1 else [])
    if not known:
        raise ConfigError(
            "The 'embedding_array' parameter of open_dataset must say which of the arrays "
            f"{found} of {path} holds the image embeddings. Got None instead."
        )
    return known[0]

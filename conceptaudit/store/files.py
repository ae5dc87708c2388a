"""Files written whole or not at all, the digests of values and files, and JSON read back."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conceptaudit.errors import DataError
from conceptaudit.store.partials import whole

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd
    import pyarrow as pa

Json = Any  # a value that `json` can write

_HEX = re.compile(r"[0-9a-f]{64}")


def canonical_json(value: Json) -> str:
    """Write a value as JSON whose bytes depend on nothing but the value."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def digest_of(value: Json) -> str:
    """SHA-256, in hex, of a JSON value.

    Examples
    --------
    >>> digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()


def is_digest(value: object) -> bool:
    """Whether a value has the shape of a digest.

    Examples
    --------
    >>> is_digest(digest_of(1)), is_digest("abc"), is_digest(None)
    (True, False, False)
    """
    return isinstance(value, str) and _HEX.fullmatch(value) is not None


def file_digest(path: Path) -> str:
    """SHA-256, in hex, of a file's bytes."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror or error}.") from error


# Packages whose version can change a vector, a tag or a search: every manifest names them.
RUN_PACKAGES = (
    "open_clip_torch", "torch", "torchvision", "timm", "spacy", "faiss-cpu", "faiss-gpu", "pillow",
    "numpy",
)  # fmt: skip


def package_versions(*names: str) -> dict[str, str]:
    """Installed versions of the packages that a result depends on; absent ones are left out."""
    versions = {}
    for name in ("conceptaudit", *names):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@contextmanager
def whole_file(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync and rename it, else remove it.

    What killed processes left half-written of the same name goes, too (see `partials`). `sync` is
    False for results of shards, of which many are synced at once (`sync_folder`).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path, sync=sync) as partial:
            yield partial
    except OSError as error:
        raise DataError(f"Cannot write {path}: {error.strerror or error}.") from error


def sync_folder(folder: Path, names: Sequence[str] | None = None) -> None:
    """Have files of a folder on the disk, whatever fails after it.

    Where no names are given, its file system writes all that it holds back at once, if it can.
    """
    sync_disk = getattr(_libc(), "syncfs", None) if names is None else None
    try:
        if names is None and sync_disk is None:
            names = [path.name for path in folder.iterdir()]
        for name in names or ():
            with suppress(FileNotFoundError), (folder / name).open("rb") as stream:
                os.fsync(stream.fileno())
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if sync_disk is None:
                os.fsync(handle)
            elif sync_disk(handle):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        finally:
            os.close(handle)
    except OSError as error:
        raise DataError(f"Cannot write {folder}: {error.strerror or error}.") from error


def _libc() -> ctypes.CDLL:
    """Return what holds the system calls that Python does not name."""
    return ctypes.CDLL(None, use_errno=True)


def write_text(path: Path, text: str, *, errors: str = "replace", sync: bool = True) -> None:
    """Write a text file whole or not at all (UTF-8; lone surrogates become question marks)."""
    with whole_file(path, sync=sync) as partial:
        partial.write_bytes(text.encode("utf-8", errors))


def write_json(path: Path, value: Json) -> None:
    """Write a value as indented JSON, whole or not at all.

    Lone surrogates, as paths have them that are not UTF-8, become escapes and are read back so.
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, indent=1) + "\n"
    write_text(path, text, errors="backslashreplace")


def write_parquet(path: Path, table: pd.DataFrame | pa.Table, *, sync: bool = True) -> None:
    """Write a table as parquet, whole or not at all, with the same bytes for the same table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if isinstance(table, pa.Table):
        arrow = table.combine_chunks()
    else:
        arrow = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
    with whole_file(path, sync=sync) as partial:
        pq.write_table(arrow, partial, compression="zstd", write_page_checksum=True)


def write_npy(path: Path, array: npt.NDArray[Any], *, sync: bool = True) -> None:
    """Write an array as ``.npy``, whole or not at all; objects are refused."""
    import numpy as np

    with whole_file(path, sync=sync) as partial, partial.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)


FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")


def inert_text(value: Json) -> Json:
    """Put an apostrophe before text that a spreadsheet would compute; numbers stay numbers.

    Examples
    --------
    >>> inert_text("=1+1"), inert_text("a-b"), inert_text("-0.5")
    ("'=1+1", 'a-b', '-0.5')
    """
    if not isinstance(value, str) or not FORMULA.match(value) or _NUMBER.fullmatch(value):
        return value
    return f"'{value}"


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, whole or not at all; text is inert in a spreadsheet."""
    with whole_file(path) as partial:
        _inert(table).to_csv(partial, index=False, lineterminator="\n")


def csv_bytes(table: pd.DataFrame) -> bytes:
    """Return what `write_csv` would write."""
    return _inert(table).to_csv(index=False, lineterminator="\n").encode("utf-8")


def _inert(table: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    texts = [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    return table.assign(**{str(name): table[name].map(inert_text) for name in texts})


def read_json(path: Path) -> Json:
    """Read a JSON file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"Cannot read {path} as JSON: {error}.") from error


def is_there(path: Path) -> bool:
    """Whether a path is a file.

    `Path.is_file` fails for a name that is longer than a file system allows. No such file can be
    there, so the answer is no; what else goes wrong is still raised.

    Examples
    --------
    >>> is_there(Path("x" * 5000))
    False
    """
    return _unless_too_long(path.is_file)


def exists(path: Path) -> bool:
    """Whether a path is anything; a name that is too long is nothing, as in `is_there`.

    Examples
    --------
    >>> exists(Path("x" * 5000)), exists(Path("."))
    (False, True)
    """
    return _unless_too_long(path.exists)


def _unless_too_long(ask: Callable[[], bool]) -> bool:
    try:
        return ask()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False

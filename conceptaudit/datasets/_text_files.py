"""Text files that hold a caption per line, by whatever ending: ``val.en``, ``captions.txt``."""

import codecs
from collections.abc import Sequence
from pathlib import PurePosixPath

from conceptaudit.datasets._files import File, open_unpacked, reading, suffix
from conceptaudit.datasets._listing import Listing
from conceptaudit.errors import DataError

_BINARY = frozenset(
    {
        ".bin", ".dat", ".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".safetensors", ".onnx", ".h5",
        ".hdf5", ".npy", ".npz", ".mat", ".arrow", ".feather", ".tfrecord", ".lmdb", ".mdb", ".db",
        ".sqlite", ".zip", ".rar", ".7z", ".xlsx", ".xls", ".pdf", ".doc", ".docx", ".html",
        ".htm", ".xml", ".md", ".rst", ".log", ".py", ".ipynb", ".toml", ".ini", ".cfg", ".yaml",
        ".yml", ".mp4", ".avi", ".webm", ".wav",
    }
)  # fmt: skip
"""Files that hold no captions by line, whatever their bytes look like."""

_ABOUT = frozenset({"readme", "license", "licence", "notice", "copying", "changelog", "checksums"})
_PEEK_BYTES = 1 << 16
_MANY = 5
"""More lines than a caption has."""


def is_text(file: File) -> bool:
    """Whether a file holds text in UTF-8 that may be captions."""
    if suffix(file.name) in _BINARY or not file.size:
        return False
    try:
        with reading(file.path), open_unpacked(file.path) as stream:
            head = stream.read(_PEEK_BYTES)
    except DataError:
        return False
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return True  # and the reader says what to do about UTF-16
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return bool(text.strip()) and "\0" not in text


def text_files(listing: Listing) -> list[File]:
    """Pick the files of a folder that may be lists of captions."""
    return [
        file
        for file in listing.files
        if suffix(file.name) not in {*_BINARY, ".json"}
        and PurePosixPath(file.name).name.partition(".")[0].lower() not in _ABOUT
    ]


def many_lines(files: Sequence[File]) -> bool:
    """Whether files are lists of captions: text, the first ones of more lines than a caption."""
    return bool(files) and all(is_text(file) and _n_lines(file) > _MANY for file in files[:3])


def _n_lines(file: File) -> int:
    with reading(file.path), open_unpacked(file.path) as stream:
        return sum(bool(line.strip()) for line in stream.read(_PEEK_BYTES).splitlines())

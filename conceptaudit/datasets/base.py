"""What every dataset layout offers: shards, and a reader of one shard.

A layout module finds its files, cuts them into shards and reads a shard as batches of samples.
It joins the parts of a sample by key and reports what it cannot use; it never counts anything.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from conceptaudit.options import shared
from conceptaudit.records import ROW_BITS, SampleBatch

CAPTION = "caption"
IMAGE = "image"
EMBEDDING = "embedding"
LANGUAGE = "language"
PARTS = frozenset({CAPTION, IMAGE, EMBEDDING, LANGUAGE})

CAPTION_UNIT, DOCUMENT_UNIT = shared.UNITS

# What a row says besides (URL, licence, safety, watermark; see `_extra.EXTRA_ALIASES`): may be
# asked of every dataset, and is empty where it has none, so that no `provides` names it.
EXTRA = "extra"

DEFAULT_SHARD_ROWS = shared.DEFAULT_SHARD_ROWS

# Rows per batch of captions or embeddings; batches with images are smaller.
DEFAULT_BATCH_ROWS = 2_048

IMAGE_BATCH_ROWS = 128  # rows per batch that carries encoded images: some 10 MB of web photographs

DOCUMENT_BATCH_ROWS = 64  # rows per batch of documents, which may be books


# Column of our own embedding folders: the sample id that a row had in the embedded dataset.
SOURCE_COLUMN = "source_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A piece of a dataset that one worker reads from start to end.

    Parameters
    ----------
    name : str
        Unique within the dataset, safe as a file name, and sorted in reading order
        (``"0000003-0000000040000"``: file 3, from row 40,000).
    files : tuple of str
        The paths or fsspec URLs that the shard is read from, main file first.
    file_index : int
        Position of the main file in the dataset's sorted list; part of every sample id.
    start, stop : int
        Rows [start, stop) of the main file; stop is -1 for "to the end".
    offset : int
        Byte at which row `start` begins, for files that are read by seeking; else 0.
    fingerprint : str
        SHA-256 over the shard's files' names relative to the dataset, sizes and modification
        stamps (or ETags), the row range and the dataset's settings: changes when what is read
        does.
    ids_per_row : int
        How many sample ids a row takes up: several where a row holds a list of captions.
    """

    name: str
    files: tuple[str, ...]
    file_index: int
    start: int = 0
    stop: int = -1
    offset: int = 0
    fingerprint: str = ""
    ids_per_row: int = 1

    def holds(self, sample: int) -> bool:
        """Whether a sample id is that of one of the shard's rows."""
        row = (sample & ((1 << ROW_BITS) - 1)) // self.ids_per_row
        in_file = sample >> ROW_BITS == self.file_index
        return in_file and self.start <= row and (self.stop < 0 or row < self.stop)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What every dataset of ours knows once its files have been looked at."""

    location: str
    provides: frozenset[str]
    notes: tuple[str, ...]
    settings: dict[str, str]

    @property
    def layout(self) -> str:
        """The layout's name."""
        return self.settings["layout"]


class Dataset(Protocol):
    """A dataset on disk or behind an fsspec URL, in one layout. Picklable and cheap to send.

    Files are listed when `shards` is called, so a dataset object holds no file list. A damaged
    file among many does not stop `shards`: it becomes one shard whose reading raises.
    """

    @property
    def layout(self) -> str:
        """The layout's name, as ``--layout`` takes it (``"webdataset"``, ``"table"``, …)."""

    @property
    def location(self) -> str:
        """What the user named."""

    @property
    def provides(self) -> frozenset[str]:
        """Which of `PARTS` a shard can be read with."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was detected or will be missing, one sentence each, for the summary on screen."""

    @property
    def settings(self) -> dict[str, str]:
        """Everything that changes what is read (layout, column names, cut lengths …)."""

    def shards(self) -> tuple[Shard, ...]:
        """All shards in reading order."""

    def read(self, shard: Shard, parts: frozenset[str]) -> Iterator[SampleBatch]:
        """Read a shard's samples with the parts asked for (a subset of `provides`).

        Raises
        ------
        DataError
            The file is damaged or contradicts itself; the message names file and row.
        """

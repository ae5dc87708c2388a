"""Why images are not in a set, and the finished set."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from conceptaudit.artifacts import Json

OTHER_CLASS = "other_class"
NEARER_OTHER = "nearer_to_other_concept"
REPEATED = "exact_bytes"
SAME_PIXELS = "exact_pixels"
NEAR_PHASH = "near_phash"
NEAR_ALTERED = "near_altered"
NEAR_EMBEDDING = "near_embedding"
LEAK_EMBEDDING = "leak_embedding"
LEAK_PIXELS = "leak_pixels"
LEAK_PHASH = "leak_phash"
LEAK_ALTERED = "leak_altered"
LEAK_URL = "leak_url"
LEAK_HASH = "leak_hash"
OUTLIER = "outlier"
OTHER_SENSE = "other_sense"
NO_PICTURE = "no_picture"
EXAMPLE = "example_image"
UNSAFE = "unsafe"
WATERMARK = "watermark"
TOO_SMALL = "too_small"
TOO_LONG = "extreme_aspect"
REJECTED = "judged_wrong"
SURPLUS = "surplus"
LEFT_OUT = "class_left_out"
UNREADABLE_FILE = "unreadable_file"

# What the reasons in ``removed.csv`` mean. Others come from the reader of the pool.
REASONS: Mapping[str, str] = MappingProxyType(
    {
        OTHER_CLASS: "the image ranks better for another selected concept and serves that one",
        NEARER_OTHER: "another concept of the audit fits better by more than --min-margin allows",
        REPEATED: "the same file (or the same stored vector) under another key",
        SAME_PIXELS: "the same pixels in another file",
        NEAR_PHASH: "perceptual hashes differ in at most --phash-distance bits; beyond 6 bits the "
        "thumbnails must agree too",
        NEAR_ALTERED: "one is a mirrored, turned, cropped or framed copy of the other (switched "
        "off with --phash-distance -1)",
        NEAR_EMBEDDING: "embeddings are at least --embedding-similarity similar",
        LEAK_EMBEDDING: "a --against image has an embedding at least --leak-similarity similar",
        LEAK_PIXELS: "a --against image has the same pixels",
        LEAK_PHASH: "a --against image's perceptual hash is within --phash-distance bits; beyond 6 "
        "bits the thumbnails must agree too",
        LEAK_ALTERED: "it is a mirrored, turned, cropped or framed copy of a --against image, or "
        "the other way round (switched off with --phash-distance -1)",
        LEAK_URL: "its URL stands in a --against table",
        LEAK_HASH: "its file's digest stands in a --against table",
        OUTLIER: "its embedding lies far from the rest of its class (--suspects remove)",
        OTHER_SENSE: "it seems to show another thing of that name (--suspects remove)",
        NO_PICTURE: "the --pictures dataset has no image with its key",
        EXAMPLE: "it is one of the --examples that images were ranked by",
        UNSAFE: "the pool's columns call it unsafe (--max-unsafe)",
        WATERMARK: "the pool's columns say that it has a watermark (--max-watermark)",
        TOO_SMALL: "the shorter side is below --min-side",
        TOO_LONG: "longer by shorter side is above --max-aspect",
        REJECTED: "a person judged that it does not show the concept",
        SURPLUS: "clean, but its class is full",
        LEFT_OUT: "its class has fewer images than --min-per-class",
        UNREADABLE_FILE: "the pool file could not be read and was skipped",
    }
)


# Of ``removed.csv``: one row per image that is not in the set.
REMOVED_COLUMNS = ("key", "source", "concept", "reason", "detail", "duplicate_of")


@dataclass(frozen=True, slots=True, kw_only=True)
class LongTailSet:
    """A finished test set of rare concepts.

    Parameters
    ----------
    folder : Path
        Where it lies.
    images : pandas.DataFrame
        ``manifest.csv``: one row per image.
    classes : pandas.DataFrame
        ``classes.csv``: one row per selected concept, those left out last.
    removed : pandas.DataFrame
        ``removed.csv``: one row per image that is not in the set, with its reason.
    manifest : dict
        ``manifest.json``: settings, digests, counts, versions.
    """

    folder: Path
    images: pd.DataFrame
    classes: pd.DataFrame
    removed: pd.DataFrame
    manifest: Json

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user of the set must know, one sentence each."""
        return tuple(self.manifest["notes"])

    @property
    def concepts(self) -> tuple[str, ...]:
        """The classes, in the order of ``classnames.txt``."""
        return tuple(row["concept"] for row in self.manifest["classes"] if row["included"])

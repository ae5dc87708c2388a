"""FAISS indexes over all images: search, evidence, duplicates. Never for counting; see `exact`."""

from conceptaudit.image.index.build import build_index
from conceptaudit.image.index.merge import merge_indexes
from conceptaudit.image.index.store import Found, IndexBuilt, RecallError, VectorIndex, open_index

__all__ = [
    "Found",
    "IndexBuilt",
    "RecallError",
    "VectorIndex",
    "build_index",
    "merge_indexes",
    "open_index",
]

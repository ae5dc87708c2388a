"""What can be set about an audit."""

from dataclasses import dataclass

from conceptaudit.datasets.base import DEFAULT_SHARD_ROWS
from conceptaudit.errors import ConfigError
from conceptaudit.frequency.intervals import LEVEL
from conceptaudit.image.prompts import DEFAULT_TEMPLATES
from conceptaudit.text.pipeline import BUNDLED, NOUN_POS

DEFAULT_THRESHOLD = 0.23
"""Cosine similarity that counts where the user names none.

Best F1 of any single threshold on 100 Flickr8k photographs with CLIP ViT-B/32 and the COCO names
(precision 0.17, recall 0.30): a start, not a calibration, and the summary says so.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """What can be set about an audit, apart from where it reads and writes.

    Parameters
    ----------
    layout : str
        Dataset layout, or ``"auto"`` to detect it.
    caption_column, key_column, url_column : str or None
        Columns of a metadata table, where their names are not among the known ones.
    spacy_model : str
        ``"bundled"``, an installed spaCy pipeline or a path.
    pos : {"noun", "any"}
        Whether matches need a noun head.
    nested : bool
        Whether a concept inside a longer match counts too.
    clip : str or None
        open_clip model for images and concepts; None audits the images only where embeddings
        and concept vectors are given.
    concept_vectors : str or None
        ``.npy`` with one row per concept, in place of prompts.
    templates : tuple of str
        Prompt templates for concepts without prompts of their own.
    threshold : float
        Cosine similarity in [-1, 1] at which an image shows a concept.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda:0"``.
    backend : str
        See `conceptaudit.image.exact.ThresholdSearch`; changes no result.
    workers : int or None
        Worker processes; None for one per processor.
    shard_rows : int
        Rows of a table or array per shard, at least 1. Changes no count.
    skip_unreadable : bool
        Whether a file that cannot be read is listed instead of stopping the audit.
    level : float
        Coverage of the intervals, in (0, 1).
    """

    layout: str = "auto"
    caption_column: str | None = None
    key_column: str | None = None
    url_column: str | None = None
    spacy_model: str = BUNDLED
    pos: str = NOUN_POS
    nested: bool = False
    clip: str | None = None
    concept_vectors: str | None = None
    templates: tuple[str, ...] = DEFAULT_TEMPLATES
    threshold: float = DEFAULT_THRESHOLD
    device: str = "auto"
    backend: str = "auto"
    workers: int | None = 1
    shard_rows: int = DEFAULT_SHARD_ROWS
    skip_unreadable: bool = False
    level: float = LEVEL

    def __post_init__(self) -> None:
        if not 0.0 < self.level < 1.0:
            raise ConfigError(
                f"The 'level' parameter must lie in (0, 1). Got {self.level} instead."
            )
        if not -1.0 <= self.threshold <= 1.0:
            raise ConfigError(
                "The 'threshold' parameter is a cosine similarity and must lie in [-1, 1]. "
                f"Got {self.threshold} instead."
            )

"""What can be set about an audit."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from conceptaudit.artifacts import Json
from conceptaudit.datasets.base import CAPTION_UNIT, DEFAULT_SHARD_ROWS
from conceptaudit.engine import EngineChoice
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.frequency.intervals import LEVEL
from conceptaudit.image.prompts import DEFAULT_TEMPLATES
from conceptaudit.store.places import folder_of
from conceptaudit.text.evidence import DEFAULT_EVIDENCE
from conceptaudit.text.fast import DEFAULT_ERROR
from conceptaudit.text.pipeline import BUNDLED, NOUN_POS

AUTO, EXACT, FAST, PAPER = "auto", "exact", "fast", "paper"
TEXT_MODES = (AUTO, EXACT, FAST, PAPER)
"""How captions can be counted."""

NO_MATTER = frozenset({"workers", "engine", "ray_address", "backend"})
"""Options that change no result."""

AUTO_DUPLICATES, EXACT_DUPLICATES = "auto", "exact"
"""What `AuditOptions.near_duplicates` may be beside a similarity."""

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
    dataset_key : str or None
        Which list to read of a concept file with the class names of several datasets.
    layout : str
        Dataset layout, or ``"auto"`` to detect it.
    caption_column, image_column, key_column, url_column : str or None
        Columns of a metadata table, where their names are not among the known ones.
    languages : tuple of str
        Count only rows in these languages, by the codes of the table's language column.
    language_column : str or None
        That column, where its name is not among the known ones.
    by_language : bool
        Whether to count every language apart as well.
    unit : {"caption", "document"}
        What one text is: documents are of any length, are never cut, and count once each.
    text_mode : {"auto", "exact", "fast", "paper"}
        How captions are counted. ``"fast"`` tags a sample of what needs a tagger and estimates the
        rest; ``"auto"`` takes it above a million captions; ``"paper"`` is the published algorithm,
        for comparison.
    spacy_model : str
        ``"bundled"``, an installed spaCy pipeline or a path.
    pos : {"noun", "any"}
        Whether matches need a noun head.
    nested : bool
        Whether a concept inside a longer match counts too.
    text_error : float
        Standard error wanted of every count in fast mode, as a share of it, in (0, 1).
    kinds : bool
        Whether to count captions that name a kind of a concept too; done anyway where images are
        calibrated from captions.
    evidence : int
        Captions kept per concept to show why it was counted, at least 0.
    cooccurrence : bool
        Whether to count which concepts are named together.
    clip : str or None
        open_clip model for images and concepts; None audits the images only where embeddings
        and concept vectors are given.
    concept_vectors : str or None
        ``.npy`` with one row per concept, in place of prompts.
    background_vectors : str or None
        ``.npy`` with vectors of common nouns by the model of `concept_vectors`, on which concepts
        are centred.
    templates : tuple of str
        Prompt templates for concepts without prompts of their own.
    alias_prompts : bool
        Whether aliases are put into the templates beside the name; a concept's vector is the
        mean of all its prompts'.
    threshold : float or None
        Cosine similarity in [-1, 1] at which an image shows a concept, for all concepts. None
        calibrates, and where that cannot be done takes `DEFAULT_THRESHOLD`.
    calibration : str
        ``"auto"`` learns a threshold per concept from the captions, where they can teach;
        ``"none"`` does not; or a file that ``conceptaudit calibrate`` wrote.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda:0"``.
    allow_pickle_weights : bool
        Whether a file of weights that is a pickle may be opened; see `find_clip`.
    image_tags : str or None
        Table of another tagger's image tags (key, concept, score), in place of a model.
    image_tag_threshold : float or None
        Smallest score of these that counts; None counts all.
    judged : str or None
        Judged sample of these images or captions, see `conceptaudit.auditing.judged_run`; the
        counts rest on it.
    near_duplicates : float, "auto", "exact" or None
        Cosine similarity in (0, 1] from which two pictures count as one in ``n_image_unique``;
        ``"exact"`` joins equal pictures only; None does not look for duplicates.
    taggers : tuple of str
        Installed taggers that tag captions or images in place of our own, by name; see
        `conceptaudit.Tagger`.
    backend : str
        See `conceptaudit.image.exact.ThresholdSearch`; changes no result.
    workers : int or None
        Workers; None for one per processor.
    engine : {"auto", "serial", "processes", "ray"}
        Who they are; see `conceptaudit.engine.EngineChoice`. Changes no result.
    ray_address : str or None
        Of a running Ray cluster.
    shard_rows : int
        Rows of a table or array per shard, at least 1. Changes no count.
    skip_unreadable : bool
        Whether a file that cannot be read is listed instead of stopping the audit.
    level : float
        Coverage of the intervals, in (0, 1).
    sampled_from : int or None
        Samples of the whole dataset, of the same kind as those read and before drops, where what
        is read is a random sample of it. Curves and predictions then know it.
    share : float or None
        The same as a share of the whole, in (0, 1].
    sample : int or None
        Audit about so many samples, drawn at random (shards, then rows); then the audit knows
        itself of how many they are a sample. At least 1.
    """

    dataset_key: str | None = None
    layout: str = "auto"
    caption_column: str | None = None
    image_column: str | None = None
    key_column: str | None = None
    url_column: str | None = None
    languages: tuple[str, ...] = ()
    language_column: str | None = None
    by_language: bool = False
    unit: str = CAPTION_UNIT
    text_mode: str = "auto"
    text_error: float = DEFAULT_ERROR
    spacy_model: str = BUNDLED
    pos: str = NOUN_POS
    nested: bool = False
    kinds: bool = False
    evidence: int = DEFAULT_EVIDENCE
    cooccurrence: bool = False
    clip: str | None = None
    concept_vectors: str | None = None
    background_vectors: str | None = None
    templates: tuple[str, ...] = DEFAULT_TEMPLATES
    alias_prompts: bool = False
    threshold: float | None = None
    calibration: str = "auto"
    device: str = "auto"
    allow_pickle_weights: bool = False
    image_tags: str | None = None
    image_tag_threshold: float | None = None
    taggers: tuple[str, ...] = ()
    judged: str | None = None
    near_duplicates: float | str | None = None
    backend: str = "auto"
    workers: int | None = 1
    engine: str = AUTO
    ray_address: str | None = None
    shard_rows: int = DEFAULT_SHARD_ROWS
    skip_unreadable: bool = False
    level: float = LEVEL
    sampled_from: int | None = None
    share: float | None = None
    sample: int | None = None

    def __post_init__(self) -> None:
        _ = self.engine_choice  # which checks itself
        if self.text_mode not in TEXT_MODES:
            raise ConfigError(
                f"The 'text_mode' parameter must be one of {list(TEXT_MODES)}. "
                f"Got {self.text_mode!r} instead."
            )
        if not 0.0 < self.text_error < 1.0:
            raise ConfigError(
                f"The 'text_error' parameter must lie in (0, 1). Got {self.text_error} instead."
            )
        if self.text_mode == PAPER and (self.nested or self.unit != CAPTION_UNIT):
            found = "nested" if self.nested else f"unit {self.unit!r}"
            raise ConfigError(
                f"The published algorithm (text mode {PAPER!r}) counts captions as bags of words: "
                f"it knows neither nested matches nor documents. Got {found}; leave that out."
            )
        if self.evidence < 0:
            raise ConfigError(
                f"The 'evidence' parameter must be at least 0. Got {self.evidence} instead."
            )
        near = self.near_duplicates
        if isinstance(near, str) and near not in (AUTO_DUPLICATES, EXACT_DUPLICATES):
            near = -1.0
        if near is not None and not isinstance(near, str) and not 0.0 < near <= 1.0:
            raise ConfigError(
                "The 'near_duplicates' parameter must be a cosine similarity in (0, 1], 'auto' or "
                f"'exact'. Got {self.near_duplicates!r} instead."
            )
        if self.image_tags is not None and (self.clip or self.concept_vectors):
            raise ConfigError(
                "Images are tagged either by a model (--clip, --concept-vectors) or by the tags "
                "of a file (--image-tags): choose one."
            )
        threshold = self.image_tag_threshold
        if threshold is not None and (self.image_tags is None or not math.isfinite(threshold)):
            raise ConfigError(
                "The 'image_tag_threshold' parameter must be a finite number, and belongs to "
                f"image_tags (--image-tags FILE). Got {threshold} and {self.image_tags!r} instead."
            )
        if not 0.0 < self.level < 1.0:
            raise ConfigError(
                f"The 'level' parameter must lie in (0, 1). Got {self.level} instead."
            )
        _check_sample(self.sampled_from, self.share)
        _check_drawn(self)
        if self.threshold is not None and self.calibration not in ("auto", "none"):
            raise ConfigError(
                f"A calibration ({self.calibration}) has a threshold per concept: leave the "
                f"threshold {self.threshold:g} out, or the calibration."
            )
        if not -1.0 <= self.fixed_threshold <= 1.0:
            raise ConfigError(
                "The 'threshold' parameter is a cosine similarity and must lie in [-1, 1]. "
                f"Got {self.threshold} instead."
            )

    @property
    def engine_choice(self) -> EngineChoice:
        """Who does the work."""
        return EngineChoice(kind=self.engine, workers=self.workers, address=self.ray_address)

    def sampled(self, n_read: int) -> Json:
        """Lay out of how many samples those read are a sample; None where they are all.

        Parameters
        ----------
        n_read : int
            Samples read, before drops.

        Raises
        ------
        ConfigError
            More samples were read than there are said to be.

        Examples
        --------
        >>> AuditOptions(share=0.01).sampled(300)
        {'n_read': 300, 'sampled_from': 30000, 'drawn': False}
        """
        whole = self.sampled_from
        if self.share is not None:
            whole = round(n_read / self.share)
        if whole is None:
            return None
        if whole < n_read:
            raise ConfigError(
                f"--sampled-from must be at least the {n_read:,} samples read (before drops). Got "
                f"{whole:,} instead. Run again with --resume: what was counted is kept."
            )
        return {"n_read": n_read, "sampled_from": whole, "drawn": False}

    def inputs(self) -> tuple[str | None, ...]:
        """Return the files and folders that the options name."""
        return (
            folder_of(self.clip),
            self.concept_vectors,
            None if self.calibration in ("auto", "none") else self.calibration,
            self.image_tags,
        )

    def asked(self) -> Json:
        """Lay out what differs from the defaults and may change a result, as `restored` takes it.

        Examples
        --------
        >>> AuditOptions(nested=True, workers=8).asked()
        {'nested': True}
        """
        own = {name: getattr(self, name) for name in self.__slots__ if name not in NO_MATTER}
        plain = {f.name: f.default for f in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else _plain(value)
            for name, value in own.items()
            if value != plain[name]
        }

    @classmethod
    def restored(cls, asked: Json, **more: Any) -> AuditOptions:
        """Read what `asked` laid out.

        Raises
        ------
        DataError
            It holds something else.
        """
        try:
            known: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value
                for name, value in asked.items()
            }
            hints = get_type_hints(cls)
            wrong = [name for name, value in known.items() if not _suits(value, hints.get(name))]
            if wrong:
                raise TypeError(f"{wrong[0]!r} is {known[wrong[0]]!r}")
            return cls(**known, **more)
        except (AttributeError, TypeError) as error:
            raise DataError(f"These are no options of an audit: {error}.") from error

    @property
    def is_sample(self) -> bool:
        """Whether what is read is said to be a sample of a larger dataset."""
        return self.sampled_from is not None or self.share is not None

    @property
    def fixed_threshold(self) -> float:
        """The threshold for all concepts, where there is no calibration."""
        return DEFAULT_THRESHOLD if self.threshold is None else self.threshold

    @property
    def calibrates(self) -> bool:
        """Whether the audit is to learn thresholds from its own captions."""
        return self.threshold is None and self.calibration == "auto"


def _check_drawn(options: AuditOptions) -> None:
    """Check the number of samples to draw, and what it cannot be had with."""
    if options.sample is None:
        return
    if options.sample < 1 or options.is_sample:
        raise ConfigError(
            "--sample must be at least 1, and leaves --sampled-from and --share out: the audit "
            f"knows of how many samples it reads some. Got {options.sample}, "
            f"{options.sampled_from} and {options.share} instead."
        )


def _check_sample(sampled_from: int | None, share: float | None) -> None:
    """Refuse a sample of nothing, of less than nothing, or said twice."""
    if sampled_from is not None and share is not None:
        raise ConfigError("--sampled-from and --share say the same: give one of them.")
    if share is not None and not 0.0 < share <= 1.0:
        raise ConfigError(f"--share must lie in (0, 1], such as 0.01. Got {share:g} instead.")
    if sampled_from is not None and sampled_from < 1:
        raise ConfigError(
            f"--sampled-from must be a number of samples. Got {sampled_from} instead."
        )


def _suits(value: object, kind: Any) -> bool:
    """Whether a value that JSON held may be that of an option of this type."""
    if isinstance(kind, UnionType):
        return any(_suits(value, one) for one in get_args(kind))
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(isinstance(one, str) for one in value)
    if isinstance(value, bool) or kind is None:
        return kind is bool
    return isinstance(value, int | float if kind is float else kind)


def _plain(value: object) -> Json:
    return value if isinstance(value, str | int | float | None) else str(value)

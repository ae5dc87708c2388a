"""Options of an audit."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from types import UnionType
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.options import shared
from conceptaudit.options.fields import check_options, documented, flag, option, optional
from conceptaudit.options.shared import (
    AUTO,
    CAPTION_UNIT,
    DEFAULT_ERROR,
    DEFAULT_EVIDENCE,
    NOUN_POS,
)

if TYPE_CHECKING:
    from conceptaudit.artifacts import Json
    from conceptaudit.engine import EngineChoice

EXACT, FAST, PAPER = "exact", "fast", "paper"
TEXT_MODES = (AUTO, EXACT, FAST, PAPER)  # how captions can be counted

# Options that change no result.
NO_MATTER = frozenset({"workers", "engine", "ray_address", "backend"})

# What `AuditOptions.near_duplicates` may be beside a similarity.
AUTO_DUPLICATES, EXACT_DUPLICATES = "auto", "exact"

# Cosine similarity that counts where the user names none.
#
# Best F1 of any single threshold on 100 Flickr8k photographs with CLIP ViT-B/32 and the COCO names
# (precision 0.17, recall 0.30): a start, not a calibration, and the summary says so.
DEFAULT_THRESHOLD = 0.23


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """Options of an audit, apart from where it reads and writes.

    Raises
    ------
    ConfigError
        An option lies outside its range, or does not go with another.
    """

    dataset_key: str | None = shared.dataset_key()
    layout: str = shared.layout()
    caption_column: str | None = shared.caption_column()
    image_column: str | None = shared.image_column()
    key_column: str | None = shared.key_column()
    url_column: str | None = shared.url_column()
    languages: tuple[str, ...] = option(
        (), "Count only rows in this language ('en'); repeat for more.", name="language"
    )
    language_column: str | None = shared.language_column()
    by_language: bool = flag("Count every language apart as well.")
    unit: str = shared.unit()
    text_mode: str = option(
        AUTO,
        "'exact'; 'fast': tag a sample and estimate; 'auto': fast above a million captions; "
        "'paper': the published algorithm's counts.",
        choices=TEXT_MODES,
    )
    text_error: float = option(
        DEFAULT_ERROR, "Standard error wanted of a fast count, as a share of it.", within="(0, 1)"
    )
    spacy_model: str = shared.spacy_model()
    pos: str = option(NOUN_POS, "'noun': the head of a match must be a noun; 'any': strings.")
    nested: bool = flag("Count 'dog' in 'hot dog' for both concepts.")
    kinds: bool = flag(
        "Count captions that name a kind of a concept too (n_text_kinds); done anyway where images "
        "are calibrated from captions.",
    )
    evidence: int = option(
        DEFAULT_EVIDENCE,
        "Captions kept per concept to show why it was counted.",
        within="[0, inf)",
    )
    cooccurrence: bool = flag("Count which concepts are named together.")
    columns: tuple[str, ...] = option(
        (),
        "What the dataset's columns say, by concept: 'auto' (similarity, punsafe, licence, host of "
        "the URL …) or a column's name; repeat.",
    )
    clip: str | None = optional(
        "open_clip model for images and prompts: 'lab', MODEL/WEIGHTS such as "
        "ViT-B-32/laion2b_s34b_b79k, or a folder with open_clip_config.json.",
    )
    concept_vectors: str | None = optional(".npy with one vector per concept, instead of prompts.")
    background_vectors: str | None = optional(
        ".npy with vectors of common nouns by the model of --concept-vectors, on which concepts "
        "are centred; known models and --clip need none.",
    )
    templates: tuple[str, ...] = shared.templates()
    alias_prompts: bool = shared.alias_prompts()
    threshold: float | None = optional(
        "One cosine similarity at which an image shows a concept, for all concepts, instead of "
        "calibrated thresholds.",
        within="[-1, 1]",
    )
    calibration: str = option(
        AUTO,
        "'auto': learn thresholds from the captions, where they can teach; 'none'; or a file that "
        "'conceptaudit calibrate' wrote.",
    )
    device: str = shared.device()
    allow_pickle_weights: bool = shared.allow_pickle_weights()
    judged: str | None = optional(
        "Judged sample (conceptaudit judge), or labels with key, concept[, present]: counts of "
        "images or captions rest on it.",
    )
    near_duplicates: float | str | None = optional(
        "Also count each image once: cosine similarity of near-duplicates such as 0.95, 'auto', "
        "or 'exact' for equal images only.",
        within="(0, 1]",
    )
    image_tags: str | None = optional(
        "Image tags of another tagger: CSV, parquet or JSONL with key, concept and, where there "
        "is one, score.",
    )
    image_tag_threshold: float | None = optional("Smallest score of these tags that counts.")
    taggers: tuple[str, ...] = option(
        (),
        "Installed tagger of captions or images, instead of ours (see conceptaudit.Tagger); "
        "repeat.",
        name="tagger",
    )
    backend: str = option(
        AUTO,
        "Search of image tags: 'auto', 'blas', 'torch', 'faiss' or 'faiss-gpu'; same result.",
    )
    workers: int | None = shared.workers(default=1)
    engine: str = shared.engine()
    ray_address: str | None = shared.ray_address()
    shard_rows: int = shared.shard_rows()
    skip_unreadable: bool = shared.skip_unreadable()
    level: float = shared.level()
    sampled_from: int | None = shared.sampled_from()
    share: float | None = shared.share()
    sample: int | None = optional(
        "Audit about this many samples, drawn at random: shards, then rows."
    )

    def __post_init__(self) -> None:
        _ = self.engine_choice  # which checks itself
        check_options(self)
        if self.text_mode == PAPER and (self.nested or self.unit != CAPTION_UNIT):
            found = "nested" if self.nested else f"unit {self.unit!r}"
            raise ConfigError(
                f"The published algorithm (text mode {PAPER!r}) counts captions as bags of words: "
                f"it knows neither nested matches nor documents. Got {found}; leave that out."
            )
        near = self.near_duplicates
        if isinstance(near, str) and near not in (AUTO_DUPLICATES, EXACT_DUPLICATES):
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
        _check_sample(self.sampled_from, self.share)
        _check_drawn(self)
        if self.threshold is not None and self.calibration not in ("auto", "none"):
            raise ConfigError(
                f"A calibration ({self.calibration}) has a threshold per concept: leave the "
                f"threshold {self.threshold:g} out, or the calibration."
            )

    @property
    def engine_choice(self) -> EngineChoice:
        """Who does the work."""
        from conceptaudit.engine import EngineChoice

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
                f"--sampled-from must be at least the {quantity(n_read, 'sample')} read (before "
                f"drops). Got {whole:,} instead. Run again with --resume: what was counted is kept."
            )
        return {"n_read": n_read, "sampled_from": whole, "drawn": False}

    def inputs(self) -> tuple[str | None, ...]:
        """Return the files and folders that the options name."""
        from conceptaudit.store.places import folder_of

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

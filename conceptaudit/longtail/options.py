"""What can be set about a long-tail set."""

from dataclasses import asdict, dataclass
from pathlib import Path

from conceptaudit.artifacts import Json
from conceptaudit.counts import CORRECTED_COLUMNS
from conceptaudit.errors import ConfigError
from conceptaudit.image.prompts import DEFAULT_TEMPLATES
from conceptaudit.records import MODALITIES
from conceptaudit.text.pipeline import BUNDLED

AUTO = "auto"
COUNTS = (AUTO, *MODALITIES, *(name.removeprefix("n_") for name in CORRECTED_COLUMNS))
DEFAULT_K = 50

TEXT_RANK, EXAMPLE_RANK, BOTH_RANKS = RANKS = ("text", "examples", "both")

PHASH_DISTANCE = 10
"""Bits of 64 in which near-duplicates may differ, as published (Let It Wag!, arXiv 2404.04125)."""

EMBEDDING_SIMILARITY = 0.985
"""Cosine similarity from which two pictures count as the same; strict enough to keep siblings."""


MAX_UNSAFE, MAX_WATERMARK = 0.5, 0.8
"""The limits by which LAION cut its aesthetic subsets from LAION-5B."""


FLAG, REMOVE, OFF = SUSPECTS = ("flag", "remove", "off")


@dataclass(frozen=True, slots=True, kw_only=True)
class LongTailOptions:
    """What can be set about a long-tail set, apart from where it reads and writes.

    Parameters
    ----------
    count : {"auto", "text", "image", "joint", "image_corrected", "joint_corrected"}
        Which frequency decides what is rare; ``"auto"`` as in `counts.choose_count`.
    k : int or None
        Number of concepts. None for 50, or for all where `below` or `quantile` is given.
    below : int or None
        Only concepts that occur fewer times than this.
    quantile : float or None
        Only concepts up to this quantile of the counts, in (0, 1].
    strata : int or None
        Draw evenly from so many strata of equal width in log10 of the count, instead of the
        lowest `k`.
    pins, exclusions : tuple of str
        Concepts that are always in (on top of `k`), or never.
    include_zero : bool
        Whether concepts that were never seen can be selected. Let It Wag! left them out.
    max_count_error : float or None
        Only concepts whose count's 90 % interval is, on either side on average, at most this
        share of the count; above 0.
    max_senses : int or None
        Only concepts whose name has at most so many noun senses.
    max_rejected_share : float or None
        Only concepts of whose mentions in captions at most this share was no noun, in [0, 1].
    under : tuple of str
        Only concepts that are a kind of one of these ("animal"), by WordNet.
    selection : str, Path or None
        An edited ``selection.csv``, in place of all of the above.
    seed : int
        Decides between equal counts and which concepts of a stratum are drawn.
    layout : str
        Layout of the pool, or ``"auto"`` to detect it.
    skip_unreadable : bool
        Whether a pool file that cannot be read is listed instead of stopping the work.
    clip : str or None
        open_clip model; None for the one of the audit.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda:0"``.
    templates : tuple of str
        Prompt templates with ``{}`` or ``{c}``: for concepts that must be embedded here, and
        written beside the set for its evaluation.
    require_text : bool
        Whether an image's caption must name the concept.
    spacy_model : str
        Pipeline for `require_text`.
    min_score : float or None
        Smallest cosine similarity of image and concept, in [-1, 1]; None for no limit.
    min_margin : float or None
        Smallest lead in cosine similarity over every other concept of the audit, in [-2, 2];
        None for no limit. At 0 or more the set holds only what the model classifies correctly.
    per_class : int
        Images per class.
    min_per_class : int
        Classes with fewer images are left out, and listed.
    oversample : int
        Candidates kept per concept, as a multiple of `per_class`.
    phash_distance : int
        Perceptual hashes that differ in at most so many of 64 bits are duplicates, beyond 6 bits
        if their thumbnails agree too; negative to switch this check off.
    embedding_similarity : float
        Images whose cosine similarity is at least this are duplicates; above 1 to switch this
        check off.
    against : tuple of str or Path
        Pretraining data that the set must not overlap with, see
        `conceptaudit.longtail.pretraining.open_pretraining`.
    leak_similarity : float or None
        Cosine similarity from which an image and a pretraining image count as the same; None for
        `embedding_similarity`, above 1 to switch this check off.
    suspects : {"flag", "remove", "off"}
        What becomes of images that lie far from their class or seem to show another thing of its
        name: told in the manifest and judged first, left out, or not looked for.
    other_senses : str, Path or None
        Table of what else the concepts' names mean, see
        `conceptaudit.longtail.other_sense.read_other_senses`.
    review : str, Path or None
        A review file that a person has filled in; images judged wrong make room for the next.
    min_side : int
        Smallest shorter side, in pixels.
    max_aspect : float
        Largest ratio of longer to shorter side.
    max_unsafe, max_watermark : float
        Largest probability that the pool's columns (``punsafe``, ``pwatermark`` …) may give,
        where it has them; above 1 to let all in, those that a column calls NSFW too.
    rank : {"text", "examples", "both"}
        What images are ranked by: the concept's prompts, the mean of its example images' unit
        vectors, or the mean of these two, each of length one.
    examples : str, Path or None
        Example images, see `conceptaudit.longtail.examples.read_examples`.
    pictures : str, Path or None
        Dataset with the pictures of a pool of embeddings, joined by key.
    index : str, Path or None
        Index of a pool of embeddings, whose nearest images are looked at instead of all.

    Raises
    ------
    ConfigError
        A value lies outside its range.

    Examples
    --------
    >>> LongTailOptions(k=20, per_class=10).n_candidates
    50
    """

    count: str = AUTO
    k: int | None = None
    below: int | None = None
    quantile: float | None = None
    strata: int | None = None
    pins: tuple[str, ...] = ()
    exclusions: tuple[str, ...] = ()
    include_zero: bool = False
    max_count_error: float | None = None
    max_senses: int | None = None
    max_rejected_share: float | None = None
    under: tuple[str, ...] = ()
    selection: str | Path | None = None
    seed: int = 0
    layout: str = AUTO
    skip_unreadable: bool = False
    clip: str | None = None
    device: str = AUTO
    templates: tuple[str, ...] = DEFAULT_TEMPLATES
    require_text: bool = False
    spacy_model: str = BUNDLED
    min_score: float | None = None
    min_margin: float | None = None
    per_class: int = 20
    min_per_class: int = 1
    oversample: int = 5
    phash_distance: int = PHASH_DISTANCE
    embedding_similarity: float = EMBEDDING_SIMILARITY
    against: tuple[str | Path, ...] = ()
    leak_similarity: float | None = None
    suspects: str = FLAG
    other_senses: str | Path | None = None
    review: str | Path | None = None
    min_side: int = 32
    max_aspect: float = 4.0
    max_unsafe: float = MAX_UNSAFE
    max_watermark: float = MAX_WATERMARK
    rank: str = TEXT_RANK
    examples: str | Path | None = None
    pictures: str | Path | None = None
    index: str | Path | None = None

    def __post_init__(self) -> None:
        _check("count", self.count, self.count in COUNTS, f"one of {list(COUNTS)}")
        for name in ("k", "below", "strata", "max_senses"):
            value = getattr(self, name)
            _check(name, value, value is None or value >= 1, "at least 1")
        quantile = self.quantile
        _check("quantile", quantile, quantile is None or 0.0 < quantile <= 1.0, "in (0, 1]")
        for name in ("per_class", "min_per_class", "oversample", "min_side"):
            _check(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        _check(
            "min_per_class",
            self.min_per_class,
            self.min_per_class <= self.per_class,
            f"at most per_class ({self.per_class})",
        )
        _check("seed", self.seed, self.seed >= 0, "zero or more")
        _check("phash_distance", self.phash_distance, self.phash_distance < 64, "below 64")
        similarity = self.embedding_similarity
        _check("embedding_similarity", similarity, similarity > 0.0, "above 0")
        for name in ("leak_similarity", "max_count_error"):
            value = getattr(self, name)
            _check(name, value, value is None or value > 0.0, "above 0")
        share = self.max_rejected_share
        _check("max_rejected_share", share, share is None or 0.0 <= share <= 1.0, "in [0, 1]")
        _check("suspects", self.suspects, self.suspects in SUSPECTS, f"one of {list(SUSPECTS)}")
        _check("max_aspect", self.max_aspect, self.max_aspect >= 1.0, "at least 1")
        for name, limit in (("min_score", 1.0), ("min_margin", 2.0)):
            value = getattr(self, name)
            within = value is None or -limit <= value <= limit
            _check(name, value, within, f"in [-{limit:g}, {limit:g}]")
        for name in ("max_unsafe", "max_watermark"):
            value = getattr(self, name)
            _check(name, value, value >= 0.0, "zero or more")
        _check("rank", self.rank, self.rank in RANKS, f"one of {list(RANKS)}")
        if (self.rank == TEXT_RANK) != (self.examples is None):
            raise ConfigError(
                "Images are ranked by examples where these are given: name them with --examples "
                f"and add --rank examples or --rank both. Got rank {self.rank!r} and examples "
                f"{str(self.examples) if self.examples is not None else None!r} instead."
            )
        _check("templates", self.templates, bool(self.templates), "at least one template")

    @property
    def n_candidates(self) -> int:
        """Candidates kept per concept while the pool is read."""
        return self.oversample * self.per_class

    @property
    def settings(self) -> Json:
        """Everything that can change the set, as JSON; the device and file names are left out."""
        values = asdict(self)
        for name in (
            "device",
            "selection",
            "review",
            "against",
            "other_senses",
            "skip_unreadable",
            "examples",
            "pictures",
            "index",
        ):
            del values[name]
        return values


def _check(name: str, value: object, valid: bool, allowed: str) -> None:
    if not valid:
        raise ConfigError(
            f"The '{name}' parameter of LongTailOptions must be {allowed}. Got {value!r} instead."
        )

"""Options of a long-tail set."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from conceptaudit.errors import ConfigError
from conceptaudit.options import shared
from conceptaudit.options.fields import check_options, documented, flag, option, optional
from conceptaudit.options.shared import AUTO

if TYPE_CHECKING:
    from conceptaudit.artifacts import Json

COUNTS = (AUTO, "text", "image", "joint", "image_corrected", "joint_corrected")
DEFAULT_K = 50

TEXT_RANK, EXAMPLE_RANK, BOTH_RANKS = RANKS = ("text", "examples", "both")

# Bits of 64 in which near-duplicates may differ, as published (Let It Wag!, arXiv 2404.04125).
PHASH_DISTANCE = 10

# Cosine similarity from which two images count as the same; strict enough to keep siblings.
EMBEDDING_SIMILARITY = 0.985


# The limits by which LAION cut its aesthetic subsets from LAION-5B.
MAX_UNSAFE, MAX_WATERMARK = 0.5, 0.8


FLAG, REMOVE, OFF = SUSPECTS = ("flag", "remove", "off")


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class LongTailOptions:
    """Options of a long-tail set, apart from where it reads and writes.

    Raises
    ------
    ConfigError
        A value lies outside its range.

    Examples
    --------
    >>> LongTailOptions(k=20, per_class=10).n_candidates
    50
    """

    count: str = option(
        AUTO,
        "What makes a concept rare: 'text', 'image', 'joint', 'image_corrected' or "
        "'joint_corrected'; 'auto' takes corrected joint counts where at least 95 % of the "
        "concepts have one, else text.",
        choices=COUNTS,
    )
    k: int | None = optional(
        "Number of concepts; 50, or all that --below and --quantile leave.", within="[1, inf)"
    )
    below: int | None = optional(
        "Only concepts that occur fewer times than this.", within="[1, inf)"
    )
    quantile: float | None = optional(
        "Only concepts up to this quantile of the counts.", within="(0, 1]"
    )
    strata: int | None = optional(
        "Draw evenly from so many strata over log10 frequency, not the lowest.",
        within="[1, inf)",
    )
    pins: tuple[str, ...] = option(
        (), "A concept that is always in, on top of K; repeat.", name="pin"
    )
    exclusions: tuple[str, ...] = option((), "A concept that is never in; repeat.", name="exclude")
    include_zero: bool = flag("Allow concepts that were never seen.")
    max_count_error: float | None = optional(
        "Only concepts whose count is known this well: half its 90 % interval over the count, "
        "such as 0.3.",
        within="(0, inf)",
    )
    max_senses: int | None = optional(
        "Only concepts whose name has at most so many noun senses.", within="[1, inf)"
    )
    max_rejected_share: float | None = optional(
        "Only concepts of whose mentions at most this share was no noun.", within="[0, 1]"
    )
    under: tuple[str, ...] = option(
        (), "Only kinds of this, such as animal, by WordNet; repeat for several."
    )
    selection: str | Path | None = optional(
        "Edited selection.csv of an earlier set; replaces the rules above."
    )
    seed: int = option(0, "Decides draws and ties of the selection.", within="[0, inf)")
    layout: str = shared.layout(help="Layout of the pool; 'auto' detects it.")
    skip_unreadable: bool = shared.skip_unreadable(
        help="List pool files that cannot be read, and go on."
    )
    clip: str | None = optional(
        "open_clip model that finds the images: 'lab', MODEL/WEIGHTS such as "
        "ViT-B-32/laion2b_s34b_b79k, or a folder; the audit's by default.",
    )
    device: str = shared.device()
    templates: tuple[str, ...] = shared.templates()
    require_text: bool = flag("The caption must name the concept.")
    spacy_model: str = shared.spacy_model(help="spaCy pipeline for --require-text.")
    min_score: float | None = optional(
        "Smallest cosine similarity of image and concept.", within="[-1, 1]"
    )
    min_margin: float | None = optional(
        "Smallest lead over every other concept of the audit; 0 keeps only what the model "
        "classifies correctly, which makes the set easier.",
        within="[-2, 2]",
    )
    per_class: int = option(20, "Images per class.", within="[1, inf)")
    min_per_class: int = option(
        1, "Leave out classes with fewer images, and list them.", within="[1, inf)"
    )
    oversample: int = option(
        5, "Candidates kept per concept, as a multiple of PER_CLASS.", within="[1, inf)"
    )
    phash_distance: int = option(
        PHASH_DISTANCE,
        "Perceptual hashes within so many bits are duplicates, beyond 6 bits if their "
        "thumbnails agree too; -1: no check.",
        within="(-inf, 64)",
    )
    embedding_similarity: float = option(
        EMBEDDING_SIMILARITY,
        "Embeddings at least so similar are duplicates; 2: no check.",
        within="(0, inf)",
    )
    against: tuple[str | Path, ...] = option(
        (),
        "Pretraining data that the set must not overlap with: images, embeddings, an index, a "
        "run of audit, or a table of URLs or digests; repeat.",
    )
    leak_similarity: float | None = optional(
        "Embeddings of pretraining images at least so similar are leaks; 2: no check. As "
        "--embedding-similarity by default.",
        within="(0, inf)",
    )
    suspects: str = option(
        FLAG,
        "Outliers and other senses: 'flag' in manifest.csv and for review, 'remove', or 'off'.",
        choices=SUSPECTS,
    )
    other_senses: str | Path | None = optional(
        "CSV with 'concept' and 'sense': what names also mean and is not meant, such as "
        "crane,construction crane.",
    )
    review: str | Path | None = optional(
        "Review file filled in by a person: images judged wrong are replaced.",
        name="review_in",
    )
    min_side: int = option(32, "Smallest shorter side, in pixels.", within="[1, inf)")
    max_aspect: float = option(4.0, "Largest ratio of the sides.", within="[1, inf)")
    max_unsafe: float = option(
        MAX_UNSAFE,
        "Largest probability of being unsafe that the pool's columns may give, where it has "
        "them (punsafe, NSFW …); 2: no check.",
        within="[0, inf)",
    )
    max_watermark: float = option(
        MAX_WATERMARK, "The same for watermarks (pwatermark …); 2: no check.", within="[0, inf)"
    )
    rank: str = option(
        TEXT_RANK,
        "What images are ranked by: 'text' (prompts), 'examples' (the mean of --examples) or "
        "'both' (their mean).",
        choices=RANKS,
    )
    examples: str | Path | None = optional(
        "Example images: a folder with a folder per concept, or CSV with 'concept' and 'path'.",
    )
    pictures: str | Path | None = optional(
        "Dataset with the images of a pool of embeddings, joined by key; only candidates are "
        "opened.",
    )
    index: str | Path | None = optional(
        "Index of a pool of embeddings, to look at nearest images only."
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.min_per_class > self.per_class:
            raise ConfigError(
                "The 'min_per_class' parameter of LongTailOptions must be at most per_class "
                f"({self.per_class}). Got {self.min_per_class} instead."
            )
        if (self.rank == TEXT_RANK) != (self.examples is None):
            raise ConfigError(
                "Images are ranked by examples where these are given: name them with --examples "
                f"and add --rank examples or --rank both. Got rank {self.rank!r} and examples "
                f"{str(self.examples) if self.examples is not None else None!r} instead."
            )
        if not self.templates:
            raise ConfigError(
                "The 'templates' parameter of LongTailOptions must be at least one template. Got "
                f"{self.templates!r} instead."
            )

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

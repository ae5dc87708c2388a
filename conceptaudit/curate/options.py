"""What a user may ask of a curation, checked."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from conceptaudit.artifacts import Json
from conceptaudit.counts import AUTO_COUNT
from conceptaudit.curate.expression import Condition
from conceptaudit.errors import ConfigError

HARD, EASY = "hard", "easy"
KEEP, DROP, AUTO = "keep", "drop", "auto"
FORMATS = ("datacomp", "webdataset", "img2dataset", "huggingface")

STEPS = (
    "keep", "exclude", "drop_copies", "prototype_prune", "untagged", "cap", "size",
)  # fmt: skip
"""The order in which samples are dropped. Counts for caps and weights are taken after the fourth:
what is filtered away is no part of the set that is balanced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurateOptions:
    """How samples are chosen and weighted.

    Parameters
    ----------
    count : str
        Count that caps and weights rest on, as `conceptaudit.counts.choose_count` takes it.
    keep : tuple of str
        Conditions that all must hold, see `Condition`.
    cap : float or None
        T, above 0: a sample is kept with the probability that any of its concepts keeps it, each
        with probability min(1, T / count) (MetaCLIP).
    tail_share : float or None
        The same, with T chosen so that concepts below it hold this share of all matches, in (0, 1).
    temper : float or None
        Weights count^-A of a sample's rarest concept, A in (0, 2].
    density : bool
        Weights of one over the density of a sample's image among all (inverse propensity).
    bandwidth : float or None
        Of the density's Gaussian kernel, as a distance of unit vectors; None for half the median.
    drop_copies : bool
        Keep one sample of each group of near-duplicates (all captions of that image).
    prototype_prune : float or None
        Share of the images to drop by distance to their cluster's centre, in (0, 1).
    prune_keep : {"hard", "easy"}
        Whether those far from or near to the centre stay.
    clusters : int
        Clusters, at least 2.
    exclude : tuple of str
        Evaluation sets whose images must not be in the result.
    exclude_similarity : float
        Cosine similarity from which an image counts as one of an evaluation set, in (0, 1].
    size : int or None
        Samples to draw, in proportion to their weights, without replacement.
    untagged : {"auto", "keep", "drop"}
        Samples without a concept; "auto" drops them where there is a cap, as MetaCLIP does.
    seed : int
    level : float
        Coverage of the intervals, in (0, 1).
    formats : tuple of str
        Of `FORMATS`, what is written besides ``kept.parquet``.

    Raises
    ------
    ConfigError
        A value is out of range, or two options exclude each other.
    """

    count: str = AUTO_COUNT
    keep: tuple[str, ...] = ()
    cap: float | None = None
    tail_share: float | None = None
    temper: float | None = None
    density: bool = False
    bandwidth: float | None = None
    drop_copies: bool = False
    prototype_prune: float | None = None
    prune_keep: str = HARD
    clusters: int = 100
    exclude: tuple[str, ...] = ()
    exclude_similarity: float = 0.95
    size: int | None = None
    untagged: str = AUTO
    seed: int = 0
    level: float = 0.9
    formats: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._check("cap", "above 0", self.cap is None or self.cap > 0)
        share = self.tail_share
        self._check("tail_share", "in (0, 1)", share is None or 0.0 < share < 1.0)
        self._check("temper", "in (0, 2]", self.temper is None or 0.0 < self.temper <= 2.0)
        self._check("bandwidth", "above 0", self.bandwidth is None or self.bandwidth > 0)
        pruned = self.prototype_prune
        self._check("prototype_prune", "in (0, 1)", pruned is None or 0.0 < pruned < 1.0)
        self._check("prune_keep", "'hard' or 'easy'", self.prune_keep in (HARD, EASY))
        self._check("clusters", "at least 2", self.clusters >= 2)
        self._check("exclude_similarity", "in (0, 1]", 0.0 < self.exclude_similarity <= 1.0)
        self._check("size", "at least 1", self.size is None or self.size >= 1)
        self._check("untagged", "'auto', 'keep' or 'drop'", self.untagged in (AUTO, KEEP, DROP))
        self._check("level", "in (0, 1)", 0.0 < self.level < 1.0)
        self._check("formats", f"among {list(FORMATS)}", set(self.formats) <= set(FORMATS))
        if self.cap is not None and share is not None:
            raise ConfigError("--cap and --tail-share both choose the threshold: give one of them.")
        for text in self.keep:
            Condition(text)

    def _check(self, name: str, wanted: str, right: bool) -> None:
        if not right:
            raise ConfigError(
                f"The '{name}' parameter must be {wanted}. Got {getattr(self, name)!r} instead."
            )

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The conditions of `keep`."""
        return tuple(Condition(text) for text in self.keep)

    @property
    def caps(self) -> bool:
        """Whether frequent concepts are capped."""
        return self.cap is not None or self.tail_share is not None

    @property
    def drops_untagged(self) -> bool:
        """Whether samples without a concept are dropped."""
        return self.untagged == DROP or (self.untagged == AUTO and self.caps)

    @property
    def reads_vectors(self) -> bool:
        """Whether embeddings are needed."""
        return self.density or self.prototype_prune is not None

    def as_json(self) -> dict[str, Any]:
        """Everything that can change a result."""
        values: Json = asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

"""Options of a curation: how the samples of an audit are chosen and weighed for training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from conceptaudit.errors import ConfigError
from conceptaudit.options import shared
from conceptaudit.options.fields import check_options, documented, flag, option, optional
from conceptaudit.options.shared import AUTO

HARD, EASY = PRUNE_KEEPS = ("hard", "easy")
UNTAGGED = (AUTO, "keep", "drop")
FORMATS = ("datacomp", "webdataset", "img2dataset", "huggingface")


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class CurateOptions:
    """Options of a curation, in the order in which its steps are taken.

    Raises
    ------
    ConfigError
        A value is out of range, or two options exclude each other.
    """

    keep: tuple[str, ...] = option(
        (),
        "Condition on columns of the dataset or of --scores, such as 'similarity >= 0.28 and "
        "punsafe < 0.1'; repeat for more. Where a value is missing it does not hold.",
    )
    exclude: tuple[str, ...] = option(
        (), "Evaluation set whose images must not be in the result; repeat."
    )
    exclude_similarity: float = option(
        0.95, "Cosine similarity from which an image is one of --exclude.", within="(0, 1]"
    )
    drop_copies: bool = flag("Keep one image of each group of near-duplicates.")
    prototype_prune: float | None = optional(
        "Share of the images to drop by distance to their cluster's centre.", within="(0, 1)"
    )
    prune_keep: str = option(
        HARD,
        "'hard' keeps images far from the centre, 'easy' those near it.",
        choices=PRUNE_KEEPS,
    )
    clusters: int = option(100, "Clusters of --prototype-prune.", within="[2, inf)")
    count: str = option(
        AUTO, "Count that concepts are balanced by: 'text', 'image', 'joint_corrected', …"
    )
    density: bool = flag("Weigh samples by one over the density around their image.")
    bandwidth: float | None = optional(
        "Of that density's kernel, a distance of unit vectors; half the median by default.",
        within="(0, inf)",
    )
    temper: float | None = optional(
        "A: weigh samples by count^-A of their rarest concept.", within="(0, 2]"
    )
    cap: float | None = optional(
        "T: keep a sample with the probability that any of its concepts keeps it, each with "
        "min(1, T / count).",
        within="(0, inf)",
    )
    tail_share: float | None = optional(
        "The same with T such that concepts below it hold this share of all matches.",
        within="(0, 1)",
    )
    untagged: str = option(
        AUTO,
        "Samples without a concept: 'keep', 'drop'; 'auto' drops them with a cap.",
        choices=UNTAGGED,
    )
    size: int | None = optional(
        "Draw so many samples, in proportion to their weights.", within="[1, inf)"
    )
    seed: int = option(0, "Decides every draw.", within="[0, inf)")
    level: float = shared.level()
    formats: tuple[str, ...] = option(
        (),
        "Written besides kept.parquet: 'datacomp', 'webdataset', 'img2dataset', 'huggingface'; "
        "repeat for more.",
        name="format",
    )

    def __post_init__(self) -> None:
        check_options(self)
        unknown = sorted(set(self.formats) - set(FORMATS))
        if unknown:
            raise ConfigError(
                f"The 'formats' parameter of CurateOptions must be among {list(FORMATS)}. Got "
                f"{unknown[0]!r} instead."
            )
        if self.cap is not None and self.tail_share is not None:
            raise ConfigError("--cap and --tail-share both choose the threshold: give one of them.")

    @property
    def caps(self) -> bool:
        """Whether frequent concepts are capped."""
        return self.cap is not None or self.tail_share is not None

    @property
    def drops_untagged(self) -> bool:
        """Whether samples without a concept are dropped."""
        return self.untagged == "drop" or (self.untagged == AUTO and self.caps)

    def as_json(self) -> dict[str, Any]:
        """Everything that can change a result."""
        values = asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

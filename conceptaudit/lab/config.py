"""Every knob of the simulator, checked before anything is drawn."""

import json
import math
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from typing import Any

from conceptaudit.errors import ConfigError
from conceptaudit.lab.concepts import load_concepts

CORRUPTIONS = (
    "truncated",
    "wrong_magic",
    "bomb",
    "bad_utf8",
    "missing_member",
    "duplicate_key",
    "empty_caption",
)
"""Kinds of damaged sample; each has a knob ``{kind}_rate``."""

MIN_OBJECT_PIXELS = 24
"""An image of a thing smaller than this cannot be told from others even by a person."""

MAX_SEED = 2**64 - 1
SMALLEST_IMAGE, LARGEST_IMAGE = 32, 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LabConfig:
    """What a simulated dataset is like. Two equal configs give equal bytes.

    Parameters
    ----------
    seed : int
        Decides every random choice, in [0, 2**64).
    n_samples : int
        Image-caption pairs, lost and damaged ones included.
    shard_size : int
        Samples per shard.
    image_size : int
        Side of an image in pixels, 32 to 1,024.
    n_concepts : int or None
        The vocabulary is cut off after this many concepts; None keeps the whole table.
    zipf_exponent : float
        A concept of rank r is drawn with probability proportional to r to the minus this.
        0 makes all equally frequent.
    order_seed : int or None
        None ranks everyday things first, the same way for every seed; a number ranks at random.
    zero_concepts : int or tuple of str
        Concepts that never occur: the last so many of the vocabulary, or these names.
    min_objects, max_objects : int
        Things drawn per scene. Small scenes are likelier: n things with weight 1/n.
    omission_rate : float
        Share of the shown concepts that the caption does not mention.
    hallucination_rate : float
        Share of samples whose caption mentions a concept that is not shown.
    unrelated_rate : float
        Share of samples whose caption describes another, independent scene.
    exact_duplicate_rate, near_duplicate_rate : float
        Share of samples that repeat an earlier one: the same bytes, or a re-encoded, slightly
        cropped image with a slightly edited caption.
    truncated_rate, wrong_magic_rate, bomb_rate : float
        Share of samples whose image ends early, is a web page, or claims 4 billion pixels.
    bad_utf8_rate, empty_caption_rate : float
        Share of samples whose caption is not UTF-8, or is empty.
    missing_member_rate, duplicate_key_rate : float
        Share of samples without their image or caption, or stored twice under one key.
    link_rot_rate : float
        Share of samples that could not be downloaded; only the metadata know them.
    non_english_share : float
        Share of captions in German, Spanish or French.
    verb_use_share : float
        Share of English captions with a concept's word used as a verb ("they bat first").

    Raises
    ------
    ConfigError
        A knob, or a combination of knobs, is impossible; the message names it.

    Examples
    --------
    >>> LabConfig(n_samples=100).n_shards
    1
    >>> LabConfig(zipf_exponent=-1.0)
    Traceback (most recent call last):
        ...
    conceptaudit.errors.ConfigError: The 'zipf_exponent' parameter of LabConfig must be a \
finite number >= 0. Got -1.0 instead.
    """

    seed: int = 0
    n_samples: int = 10_000
    shard_size: int = 1_000
    image_size: int = 96
    n_concepts: int | None = None
    zipf_exponent: float = 1.2
    order_seed: int | None = None
    zero_concepts: int | tuple[str, ...] = 0
    min_objects: int = 1
    max_objects: int = 4
    omission_rate: float = 0.1
    hallucination_rate: float = 0.05
    unrelated_rate: float = 0.05
    exact_duplicate_rate: float = 0.02
    near_duplicate_rate: float = 0.02
    truncated_rate: float = 0.0
    wrong_magic_rate: float = 0.0
    bomb_rate: float = 0.0
    bad_utf8_rate: float = 0.0
    missing_member_rate: float = 0.0
    duplicate_key_rate: float = 0.0
    empty_caption_rate: float = 0.0
    link_rot_rate: float = 0.0
    non_english_share: float = 0.05
    verb_use_share: float = 0.05

    def __post_init__(self) -> None:
        self._check_whole("seed", 0, MAX_SEED)
        self._check_whole("n_samples", 1, 10**12)
        self._check_whole("shard_size", 1, 10**6)
        self._check_whole("image_size", SMALLEST_IMAGE, LARGEST_IMAGE)
        if self.n_concepts is not None:
            self._check_whole("n_concepts", 1, len(load_concepts()))
        if self.order_seed is not None:
            self._check_whole("order_seed", 0, MAX_SEED)
        if not (_is_number(self.zipf_exponent) and 0 <= self.zipf_exponent < math.inf):
            self._refuse("zipf_exponent", "a finite number >= 0")
        self._check_zero_concepts()
        self._check_objects()
        shares = [f.name for f in fields(self) if f.name.endswith(("_rate", "_share"))]
        for name in shares:
            if not (_is_number(getattr(self, name)) and 0 <= getattr(self, name) <= 1):
                self._refuse(name, "a number between 0 and 1")
        self._check_sum("exact_duplicate_rate", "near_duplicate_rate")
        self._check_sum(*(f"{kind}_rate" for kind in CORRUPTIONS))

    @property
    def n_shards(self) -> int:
        """Shards that the dataset is cut into."""
        return -(-self.n_samples // self.shard_size)

    def to_json(self) -> str:
        """Write the knobs as JSON, for `from_json` to read."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> "LabConfig":
        """Read what `to_json` wrote.

        >>> config = LabConfig(seed=3, zero_concepts=("dog",))
        >>> LabConfig.from_json(config.to_json()) == config
        True
        """
        knobs: dict[str, Any] = json.loads(text)
        if isinstance(knobs.get("zero_concepts"), list):
            knobs["zero_concepts"] = tuple(knobs["zero_concepts"])
        unknown = sorted(knobs.keys() - {f.name for f in fields(cls)})
        if unknown:
            near = get_close_matches(unknown[0], [f.name for f in fields(cls)], n=1)
            raise ConfigError(
                f"The lab has no knob {unknown[0]!r}."
                f"{f' Did you mean {near[0]!r}?' if near else ''} 'conceptaudit lab knobs' lists "
                "all."
            )
        return cls(**knobs)

    def _check_zero_concepts(self) -> None:
        total = self.n_concepts or len(load_concepts())
        zero = self.zero_concepts
        if isinstance(zero, int) and not isinstance(zero, bool):
            self._check_whole("zero_concepts", 0, total - 1)
        elif isinstance(zero, tuple):
            known = {concept.name for concept in load_concepts()}
            unknown = sorted(set(map(str, zero)) - known)
            if unknown:
                self._refuse("zero_concepts", f"names of lab concepts; {unknown} are not")
            if len(set(zero)) >= total:
                self._refuse("zero_concepts", f"fewer than the {total} concepts in use")
        else:
            self._refuse("zero_concepts", "a whole number or a tuple of concept names")

    def _check_objects(self) -> None:
        fit = (self.image_size // MIN_OBJECT_PIXELS) ** 2
        self._check_whole("min_objects", 1, fit)
        if not isinstance(self.max_objects, int) or not self.min_objects <= self.max_objects <= fit:
            self._refuse(
                "max_objects",
                f"a whole number between min_objects ({self.min_objects}) and {fit}, as many as "
                f"fit into {self.image_size} x {self.image_size} pixels",
            )

    def _check_whole(self, name: str, low: int, high: int) -> None:
        value = getattr(self, name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self._refuse(name, f"a whole number between {low:,} and {high:,}")

    def _check_sum(self, *names: str) -> None:
        total = math.fsum(getattr(self, name) for name in names)
        if total > 1:
            self._refuse(names[0], f"so small that it and {list(names[1:])} add up to at most 1")

    def _refuse(self, name: str, wanted: str) -> None:
        raise ConfigError(
            f"The '{name}' parameter of LabConfig must be {wanted}. "
            f"Got {getattr(self, name)!r} instead."
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

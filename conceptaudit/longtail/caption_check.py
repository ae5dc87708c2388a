"""How many of a set's images have a caption that names their class: a check without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conceptaudit.artifacts import Json
from conceptaudit.frequency.intervals import wilson_interval
from conceptaudit.longtail.collect import named_in_captions

if TYPE_CHECKING:
    from conceptaudit.longtail.balance import TailClass
    from conceptaudit.text.tagger import TextTagger

FEW_NAMED = 0.8
"""Share of named images below which the set is called doubtful: CLIP-ranked images of the lab's
photographs whose captions name the class are 98 % right, sets with a share of 0.3 are 31 % pure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionCheck:
    """Captions of a set's images against their classes.

    Parameters
    ----------
    n_captioned, n_named : int
        Images with a caption, and those whose caption names their class.
    """

    n_captioned: int
    n_named: int

    @property
    def notes(self) -> list[str]:
        """What the user should know; nothing where captions support the set."""
        if not self.n_captioned or self.n_named >= FEW_NAMED * self.n_captioned:
            return []
        low, high = wilson_interval(self.n_named, self.n_captioned)
        note = (
            f"The captions of only {self.n_named:,} of {self.n_captioned:,} images name their "
            f"class ({self.n_named / self.n_captioned:.0%}, interval {low:.0%} to {high:.0%}). "
            "Where the pool's captions say what is shown, the others are probably wrong: "
            "--require-text takes only images whose caption names the class, --min-margin 0.05 "
            "drops doubtful ones, and --review-out writes a list to judge."
        )
        return [note]

    def as_json(self) -> Json:
        """Lay out for the manifest."""
        return {"n_captioned": self.n_captioned, "n_named": self.n_named}


def check_captions(
    classes: Sequence[TailClass], tagger: TextTagger, concept_ids: Sequence[int]
) -> CaptionCheck:
    """Look for each image's class in its caption.

    Parameters
    ----------
    classes : sequence of TailClass
        Those that the set has.
    tagger : TextTagger
        Of the audit's vocabulary.
    concept_ids : sequence of int
        Position of each class's concept in that vocabulary.
    """
    n_captioned = n_named = 0
    for tail_class, concept in zip(classes, concept_ids, strict=True):
        captions = [image.entry.caption for image in tail_class.images if image.entry.caption]
        n_captioned += len(captions)
        n_named += int(named_in_captions(tagger, captions, [concept]).sum())
    return CaptionCheck(n_captioned=n_captioned, n_named=n_named)

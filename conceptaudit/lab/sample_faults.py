"""What happens to a sample whatever it shows: copied, mismatched, damaged or lost."""

from collections.abc import Sequence
from dataclasses import dataclass

from conceptaudit.lab.config import CORRUPTIONS, LabConfig
from conceptaudit.lab.rng import Purpose, SampleRng


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFaults:
    """What happens to a sample, whatever it shows."""

    copy_kind: str  # "exact", "near" or empty
    source: int  # whose content it has; its own index unless it is a copy
    unrelated: bool  # the caption describes another scene
    corrupt: str
    link_rot: bool


def faults_of(config: LabConfig, index: int) -> SampleFaults:
    """Decide what happens to sample `index`; O(1), without drawing the samples before it."""
    rng = SampleRng(seed=config.seed, index=index, purpose=Purpose.FLAGS)
    copy_kind, source = _copied(config, rng, index)
    unrelated = rng.chance(config.unrelated_rate)
    link_rot = rng.chance(config.link_rot_rate)
    corrupt = _pick_kind(rng, [(kind, getattr(config, f"{kind}_rate")) for kind in CORRUPTIONS])
    if corrupt == "missing_member":
        corrupt = "missing_image" if rng.chance(0.5) else "missing_caption"
    while copy_kind:
        # A copy shows what its source shows, so the source may not itself be a copy. The chain
        # ends: every step goes back, and the first sample is never a copy.
        source_dice = SampleRng(seed=config.seed, index=source, purpose=Purpose.FLAGS)
        kind, earlier = _copied(config, source_dice, source)
        if not kind:
            unrelated = source_dice.chance(config.unrelated_rate)
            break
        source = earlier
    return SampleFaults(
        copy_kind=copy_kind, source=source, unrelated=unrelated, corrupt=corrupt, link_rot=link_rot
    )


def _copied(config: LabConfig, rng: SampleRng, index: int) -> tuple[str, int]:
    rates = [("exact", config.exact_duplicate_rate), ("near", config.near_duplicate_rate)]
    kind = _pick_kind(rng, rates)
    earlier = rng.below(index) if index else 0
    return (kind, earlier) if kind and index else ("", index)


def _pick_kind(rng: SampleRng, rates: Sequence[tuple[str, float]]) -> str:
    """Draw one kind by its rate, or none; always uses one number."""
    value = rng.uniform()
    for kind, rate in rates:
        if value < rate:
            return kind
        value -= rate
    return ""

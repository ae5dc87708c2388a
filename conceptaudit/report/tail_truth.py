"""Purity and rarity of a long-tail set, where judgements or a simulated truth tell them."""

from __future__ import annotations

from pathlib import Path

from conceptaudit.display import quantity
from conceptaudit.errors import DataError
from conceptaudit.frequency.intervals import wilson_interval
from conceptaudit.longtail import LongTailSet
from conceptaudit.report.measured import Measured
from conceptaudit.report.wording import count, decimal, percent


def tail_truth(
    tail: LongTailSet, *, pool_truth: Path | None, measured: tuple[Measured, ...] | None
) -> tuple[str, ...]:
    """Say in sentences how pure a set is and how rare its classes truly are; none if unknown.

    Raises
    ------
    DataError
        `pool_truth` is not the truth of the pool that the set was taken from.
    """
    sentences = []
    if pool_truth is not None:
        n_right, n = _right_images(tail, pool_truth)
        low, high = wilson_interval(n_right, n)
        sentences.append(
            f"Purity, from the simulated pool's truth: {count(n_right)} of {quantity(n, 'image')} "
            f"show their class ({percent(n_right / n)}, interval {percent(low)} to "
            f"{percent(high)})."
        )
    judged = [one for one in tail.manifest["classes"] if one.get("purity") is not None]
    if judged:
        shares = [float(one["purity"]) for one in judged]
        sentences.append(
            f"Purity, as judged by people: {percent(sum(shares) / len(shares))} in the mean over "
            f"{quantity(len(judged), 'class')} with verdicts, "
            f"{percent(min(shares))} in the worst."
        )
    captions = tail.manifest.get("captions")
    if captions and captions["n_captioned"]:
        share = captions["n_named"] / captions["n_captioned"]
        sentences.append(
            f"The captions of {percent(share)} of its images name their class (a check without a "
            "model; no caption need do so)."
        )
    joint = next((one for one in measured or () if one.column == "n_joint"), None)
    if joint is not None:
        true = joint.table.set_index("concept")["true"]
        chosen = true[true.index.isin(tail.classes["concept"])]
        sentences.append(
            "Rarity, from the truth of the audited data: its classes truly occur "
            f"{decimal(float(chosen.median()), 1)} times in the median (caption and image of one "
            f"sample), all audited concepts {decimal(float(true.median()), 1)} times."
        )
    return tuple(sentences)


def _right_images(tail: LongTailSet, pool_truth: Path) -> tuple[int, int]:
    from conceptaudit.lab import read_truth

    truth = read_truth(pool_truth)
    shown = dict(zip(truth["key"].astype("str"), truth["image"], strict=True))
    keys = tail.images["key"].astype("str")
    missing = keys[~keys.isin(list(shown))]
    if len(missing):
        raise DataError(
            f"--pool-truth must be the truth of the pool of {tail.folder}. {pool_truth} does not "
            f"know its image {missing.iloc[0]!r}."
        )
    right = [
        concept in shown[key] for key, concept in zip(keys, tail.images["concept"], strict=True)
    ]
    return sum(right), len(right)

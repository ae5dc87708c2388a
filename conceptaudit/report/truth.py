"""What was counted against what is true, where the truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.display import quantity
from conceptaudit.errors import DataError
from conceptaudit.frequency.intervals import wilson_interval
from conceptaudit.longtail import LongTailSet
from conceptaudit.reading import read_parquet
from conceptaudit.records import MODALITIES
from conceptaudit.report.formatting import count, decimal, percent
from conceptaudit.report.inputs import RunRecord

FLAGS = ("link_rot", "text_ok", "image_ok")
TRUTH_COLUMNS = ("key", *MODALITIES, *FLAGS)


@dataclass(frozen=True, slots=True, kw_only=True)
class TagQuality:
    """How right the tags of single samples are."""

    # (sample, concept) pairs that were tagged, that are true, and both
    n_tags: int
    n_true: int
    n_right: int

    @property
    def precision(self) -> float:
        """Share of tags that are right."""
        return self.n_right / self.n_tags if self.n_tags else float("nan")

    @property
    def recall(self) -> float:
        """Share of true pairs that were tagged."""
        return self.n_right / self.n_true if self.n_true else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthComparison:
    """One count against its truth."""

    column: str
    table: pd.DataFrame  # concept, true, counted
    tags: TagQuality | None  # of the sides that have tags of their own

    @property
    def n_missed(self) -> int:
        """Concepts that occur and were never counted."""
        return int(((self.table["true"] > 0) & (self.table["counted"] == 0)).sum())

    @property
    def n_invented(self) -> int:
        """Concepts that were counted and never occur."""
        return int(((self.table["true"] == 0) & (self.table["counted"] > 0)).sum())

    @property
    def n_occurring(self) -> int:
        """Concepts that occur."""
        return int((self.table["true"] > 0).sum())

    @property
    def typical_factor(self) -> float:
        """Median factor between count and truth, over concepts where both are above zero."""
        both = self.table[(self.table["true"] > 0) & (self.table["counted"] > 0)]
        if both.empty:
            return float("nan")
        return float(np.exp(np.median(np.abs(np.log(both["counted"] / both["true"])))))

    @property
    def n_within_tenth(self) -> int:
        """Occurring concepts whose count is within 10 % of the truth; a missed one is not."""
        true, counted = self.table["true"], self.table["counted"]
        return int(((counted - true).abs() <= 0.1 * true)[true > 0].sum())

    @property
    def rank_correlation(self) -> float:
        """Spearman's correlation over all concepts; NaN where one side is constant."""
        true, counted = (self.table[name].rank() for name in ("true", "counted"))
        if true.nunique() < 2 or counted.nunique() < 2:
            return float("nan")
        return float(np.corrcoef(true, counted)[0, 1])


def measure(run: RunRecord, truth: Path) -> tuple[TruthComparison, ...]:
    """Compare every count of a run with the truth of a generated dataset.

    The truth counts what an auditor without fault could find: sides that are damaged, and samples
    that were never downloaded, do not count.
    """
    from conceptaudit.lab import read_truth

    rows = read_truth(truth)
    missing = [name for name in TRUTH_COLUMNS if name not in rows]
    if missing:
        raise DataError(f"{truth} is not the truth of a generated dataset: it has no {missing}.")
    wrong = [name for name in FLAGS if not pd.api.types.is_bool_dtype(rows[name])]
    if wrong:
        raise DataError(
            f"{truth} is damaged: {wrong[0]!r} must be true or false in every row. Got "
            f"{rows[wrong[0]].dtype} instead."
        )
    rows = rows[~rows["link_rot"]]
    usable = {
        "text": rows["text_ok"],
        "image": rows["image_ok"],
        "joint": rows["text_ok"] & rows["image_ok"],
    }
    pairs = {side: _pairs(rows[usable[side]], side) for side in MODALITIES}
    known = {concept for side in pairs.values() for concept in side["concept"].unique()}
    if not known & set(run.concepts):
        raise DataError(
            "The 'truth' parameter of write_report must be the truth of the audited dataset. "
            f"{truth} knows none of the {quantity(len(run.concepts), 'audited concept')}."
        )
    keys = frozenset(rows["key"])
    measured = []
    for side in MODALITIES:
        column = f"n_{side}"
        if column in run.counted:
            true = pairs[side]["concept"].value_counts()
            table = pd.DataFrame(
                {
                    "concept": run.table["concept"].astype("str"),
                    "true": run.table["concept"].map(true).fillna(0).astype("int64"),
                    "counted": run.table[column].astype("int64"),
                }
            )
            tags = None if side == "joint" else _quality(run, side, pairs[side], keys)
            measured.append(TruthComparison(column=column, table=table, tags=tags))
    return tuple(measured)


def _pairs(rows: pd.DataFrame, side: str) -> pd.DataFrame:
    """Unfold the lists of concepts into one row per (key, concept)."""
    table = rows[["key", side]].explode(side).dropna(subset=[side])
    return table.rename(columns={side: "concept"}).astype({"concept": "str"})


def _quality(
    run: RunRecord, side: str, true: pd.DataFrame, keys: frozenset[str]
) -> TagQuality | None:
    paths = [run.folder / side / f"{shard}.parquet" for shard in run.manifest["shards"]]
    parts = [read_parquet(p, columns=["key", "concept_id"]) for p in paths if p.is_file()]
    if not parts:
        return None
    tags = pd.concat(parts, ignore_index=True)
    tags = tags[tags["key"].isin(keys)]
    names = np.array(run.concepts, dtype=object)
    tagged = pd.DataFrame(
        {"key": tags["key"].astype("str"), "concept": names[tags["concept_id"]]}
    ).drop_duplicates()
    audited = true[true["concept"].isin(run.concepts)].drop_duplicates()
    right = tagged.merge(audited.astype({"key": "str"}), on=["key", "concept"])
    return TagQuality(n_tags=len(tagged), n_true=len(audited), n_right=len(right))


def tail_truth(
    tail: LongTailSet, *, pool_truth: Path | None, measured: tuple[TruthComparison, ...] | None
) -> tuple[str, ...]:
    """Say in sentences how pure a set is and how rare its classes truly are; none if unknown."""
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

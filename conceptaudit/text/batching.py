"""The usable captions of several batches together, so that much work is done once for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from conceptaudit.datasets.base import CAPTION
from conceptaudit.records import Drop, Int64Array, SampleBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionBatch:
    """Captions of consecutive samples, and what became of the samples without one."""

    sample_ids: Int64Array
    # of the samples that have a caption
    keys: Sequence[str]
    captions: Sequence[str]
    drops: Sequence[Drop]  # what the reader could not use
    n_rows: int  # samples in the batches, with a caption or without

    def failure(self, row: int, why: str) -> Drop:
        """Say that the pipeline failed on a caption."""
        return Drop(
            sample_id=int(self.sample_ids[row]),
            key=self.keys[row],
            part=CAPTION,
            reason="tagger_failed",
            detail=why,
        )


def gather(batches: Iterator[SampleBatch], at_least: int) -> Iterator[CaptionBatch]:
    """Put batches together until they hold `at_least` samples; the last may hold fewer."""
    waiting: list[SampleBatch] = []
    n_rows = 0
    for batch in batches:
        waiting.append(batch)
        n_rows += len(batch)
        if n_rows >= at_least:
            yield _joined(waiting)
            waiting, n_rows = [], 0
    if waiting:
        yield _joined(waiting)


def _joined(batches: Sequence[SampleBatch]) -> CaptionBatch:
    captions: list[str] = []
    keys: list[str] = []
    ids: list[Int64Array] = []
    for batch in batches:
        found = batch.captions if batch.captions is not None else [None] * len(batch)
        used = [i for i, caption in enumerate(found) if caption is not None]
        ids.append(batch.sample_ids[used] if len(used) < len(batch) else batch.sample_ids)
        captions += [caption for caption in found if caption is not None]
        keys += [batch.keys[i] for i in used]
    return CaptionBatch(
        sample_ids=np.concatenate(ids),
        keys=keys,
        captions=captions,
        drops=[drop for batch in batches for drop in batch.drops],
        n_rows=sum(map(len, batches)),
    )

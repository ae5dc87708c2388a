"""The fast text stage: which pairs are certain, which are open, and the captions of the latter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from conceptaudit.artifacts import Json
from conceptaudit.datasets.base import CAPTION, Shard
from conceptaudit.engine.stage import ShardResult
from conceptaudit.errors import ConfigError
from conceptaudit.options.shared import DEFAULT_ERROR
from conceptaudit.records import ConceptVocabulary, Drop, SampleBatch
from conceptaudit.tagtable import check_account, drop_table, part_account
from conceptaudit.text.ambiguity import UNSPACED
from conceptaudit.text.annotator import ZONE_CAPTIONS
from conceptaudit.text.batching import CaptionBatch, gather
from conceptaudit.text.normalize import caption_texts, n_unspaced
from conceptaudit.text.pipeline import NounPipeline
from conceptaudit.text.sampling import CERTAIN, N_KINDS, Pairs
from conceptaudit.text.tagger import TextTagger, annotator_of

if TYPE_CHECKING:
    import pyarrow as pa

OPEN_CAPTIONS = ".open.parquet"
"""Ending of a shard's captions that leave a pair open, beside its tags."""

_SAMPLE_FACTOR = 0.2
"""Pairs tagged per form at most, times the square of the wanted error: 8,000 for 0.005.

Then a form that is a noun half the time in every context is known to 1.1 %, one that is a noun nine
times in ten to 0.4 %.
"""


def sample_limit(error: float) -> int:
    """Return how many open pairs of a form are tagged at most for a wanted error.

    >>> sample_limit(0.005)
    8000
    """
    return max(round(_SAMPLE_FACTOR / error**2), 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class FastTextTagger:
    """Finds which captions may name which concepts, without tagging them."""

    exact: TextTagger  # what would decide every pair; it decides the sampled ones later
    # standard error wanted of every count, as a share of it, in (0, 1)
    error: float = DEFAULT_ERROR
    seed: int = 0  # another seed takes another sample
    name: str = field(default="text", init=False)
    parts: frozenset[str] = field(default=frozenset({CAPTION}), init=False)

    def __post_init__(self) -> None:
        if not 0.0 < self.error < 1.0:
            raise ConfigError(
                f"The 'text_error' parameter must lie in (0, 1). Got {self.error} instead."
            )

    @property
    def vocabulary(self) -> ConceptVocabulary:
        """What is looked for."""
        return self.exact.vocabulary

    @property
    def pipeline(self) -> NounPipeline:
        """The pipeline that would decide every pair."""
        return self.exact.pipeline

    @property
    def settings(self) -> Json:
        """Everything that can change a tag or the sample."""
        own = {
            "mode": "fast",
            "open": "captions",
            "error": self.error,
            "seed": self.seed,
            "kinds": N_KINDS,
        }
        return {**self.exact.settings, **own}

    def __call__(self, shard: Shard, batches: Iterator[SampleBatch]) -> ShardResult:
        """Find the pairs of one shard.

        Returns tags with two more columns, ``form`` (0 where the pair is certain) and ``context``;
        captions with open pairs; drops, and the samples' account.
        """
        annotator = annotator_of(self.exact)
        tables: list[pa.Table] = []
        captions: list[pa.Table] = []
        drops: list[Drop] = []
        n_rows = n_used = unspaced = 0
        for gathered in gather(batches, ZONE_CAPTIONS):
            drops.extend(gathered.drops)
            n_rows += gathered.n_rows
            texts = caption_texts(gathered.captions)
            pairs = annotator.pairs(texts)
            n_used += len(texts)
            unspaced += n_unspaced(texts)
            tables.append(_tags(gathered, pairs))
            captions.append(_captions(gathered, texts, pairs))
        account = part_account(n_rows, drops, part=CAPTION)
        check_account(account, n_used, f"captions of shard {shard.name}")
        return ShardResult(
            summary={**account, UNSPACED: unspaced},
            tables={
                ".parquet": _joined(tables),
                ".drops.parquet": drop_table(drops),
                OPEN_CAPTIONS: _joined(captions),
            },
        )


def _tags(gathered: CaptionBatch, pairs: Pairs) -> pa.Table:
    """Lay pairs out as `conceptaudit.tagtable.tag_table` does, without an object per pair."""
    import pyarrow as pa

    keys = pa.array(gathered.keys, pa.large_string())
    columns: dict[str, Any] = {
        "sample_id": gathered.sample_ids[pairs.captions],
        "key": keys.take(pairs.captions),
        "concept_id": pairs.concepts,
        "modality": pa.repeat(pa.scalar("text", pa.large_string()), len(pairs.captions)),
        "score": pairs.mentions.astype(np.float32),
        "form": pairs.forms,
        "context": pairs.contexts,
    }
    return pa.table(columns)


def _captions(gathered: CaptionBatch, texts: Sequence[str], pairs: Pairs) -> pa.Table:
    import pyarrow as pa

    rows = pairs.captions[pairs.forms != CERTAIN]
    rows = rows[np.flatnonzero(np.diff(rows, prepend=-1))]
    chosen = pa.array([texts[i] for i in rows.tolist()], pa.large_string())
    columns: dict[str, Any] = {"sample_id": gathered.sample_ids[rows], "caption": chosen}
    return pa.table(columns)


def _joined(tables: Sequence[pa.Table]) -> pa.Table | pd.DataFrame:
    import pyarrow as pa

    return pa.concat_tables(tables) if tables else pd.DataFrame()

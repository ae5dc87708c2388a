"""The fast text stage: which pairs are certain, which are open, and a sample of the open ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.artifacts import Json
from conceptaudit.datasets.base import CAPTION, Shard
from conceptaudit.engine.stage import ShardResult
from conceptaudit.errors import ConfigError
from conceptaudit.records import ConceptVocabulary, Drop, SampleBatch, Tags
from conceptaudit.tagtable import check_account, drop_table, part_account, tag_table
from conceptaudit.text.annotator import ZONE_CAPTIONS
from conceptaudit.text.normalize import caption_text
from conceptaudit.text.pipeline import NounPipeline
from conceptaudit.text.sampling import CERTAIN, N_KINDS, Pairs, ranks
from conceptaudit.text.tagger import TextTagger, annotator_of

OPEN_PAIRS = ".open.parquet"
"""Ending of a shard's sample of open pairs, beside its tags."""

DEFAULT_ERROR = 0.005
"""Standard error wanted of every count, as a share of it."""

_SAMPLE_FACTOR = 0.2
"""Pairs kept per form, times the square of the wanted error: 8,000 for 0.005.

Then a form that is a noun half the time in every context is known to 1.1 %, one that is a noun nine
times in ten to 0.4 %.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FastTextTagger:
    """Finds which captions may name which concepts, without tagging them.

    Parameters
    ----------
    exact : TextTagger
        What would decide every pair; it decides the sampled ones later.
    error : float
        Standard error wanted of every count, as a share of it, in (0, 1).
    seed : int
        Another seed takes another sample.
    """

    exact: TextTagger
    error: float = DEFAULT_ERROR
    seed: int = 0
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
        own = {"mode": "fast", "error": self.error, "seed": self.seed, "kinds": N_KINDS}
        return {**self.exact.settings, **own}

    @property
    def sample_size(self) -> int:
        """Most pairs of a form that are ever tagged."""
        return max(int(_SAMPLE_FACTOR / self.error**2), 100)

    def __call__(self, shard: Shard, batches: Iterator[SampleBatch]) -> ShardResult:
        """Find the pairs of one shard.

        Returns
        -------
        ShardResult
            Tags with two more columns, ``form`` (0 where the pair is certain) and ``context``;
            open pairs with their captions; drops, and the samples' account.
        """
        tables: list[pd.DataFrame] = []
        samples: list[pd.DataFrame] = []
        drops: list[Drop] = []
        n_rows = n_used = 0
        for batch in batches:
            drops.extend(batch.drops)
            n_rows += len(batch)
            captions = batch.captions if batch.captions is not None else [None] * len(batch)
            used = np.array([i for i, c in enumerate(captions) if c is not None], dtype=np.int64)
            for start in range(0, len(used), ZONE_CAPTIONS):
                zone = used[start : start + ZONE_CAPTIONS]
                texts = [caption_text(captions[i] or "") for i in zone.tolist()]
                pairs, failures = annotator_of(self.exact).pairs(texts)
                drops += [_failure(batch, int(zone[i]), why) for i, why in failures.items()]
                n_used += len(zone) - len(failures)
                table = _table(batch, zone, pairs)
                tables.append(table)
                samples.append(self._sample(table, texts, pairs))
        account = part_account(n_rows, drops, part=CAPTION)
        check_account(account, n_used, f"captions of shard {shard.name}")
        return ShardResult(
            summary=account,
            tables={
                ".parquet": pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(),
                ".drops.parquet": drop_table(drops),
                OPEN_PAIRS: self._lowest(samples),
            },
        )

    def _sample(self, table: pd.DataFrame, texts: Sequence[str], pairs: Pairs) -> pd.DataFrame:
        is_open = pairs.forms != CERTAIN
        columns = ["sample_id", "concept_id", "form", "context"]
        chosen = pd.DataFrame(table.loc[is_open, columns])
        rank = ranks(
            chosen["sample_id"].to_numpy(np.int64),
            chosen["form"].to_numpy(np.int64),
            seed=self.seed,
        )
        captions = [texts[i] for i in pairs.captions[is_open].tolist()]
        chosen["rank"] = rank
        chosen["caption"] = pd.Series(captions, dtype="str", index=chosen.index)
        return chosen

    def _lowest(self, samples: Sequence[pd.DataFrame]) -> pd.DataFrame:
        """Keep the pairs of lowest rank of each form, in an order that says nothing of zones."""
        if not samples:
            return pd.DataFrame()
        ordered = pd.concat(samples, ignore_index=True).sort_values(["form", "rank", "sample_id"])
        place = ordered.groupby("form", sort=False).cumcount()
        return pd.DataFrame(ordered[place < self.sample_size]).reset_index(drop=True)


def _failure(batch: SampleBatch, row: int, why: str) -> Drop:
    return Drop(
        sample_id=int(batch.sample_ids[row]),
        key=batch.keys[row],
        part=CAPTION,
        reason="tagger_failed",
        detail=why,
    )


def _table(batch: SampleBatch, rows: npt.NDArray[np.int64], pairs: Pairs) -> pd.DataFrame:
    keys: Sequence[Any] = batch.keys
    of_pair = rows[pairs.captions]
    tags = Tags(
        sample_ids=batch.sample_ids[of_pair],
        keys=[keys[i] for i in of_pair.tolist()],
        concept_ids=pairs.concepts,
        scores=pairs.mentions.astype(np.float32),
    )
    table = tag_table(tags, modality="text")
    return table.assign(form=pairs.forms, context=pairs.contexts)

"""Which language each sample says it is in, noted per shard for counts by language."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pandas as pd

from conceptaudit.artifacts import Json
from conceptaudit.datasets.base import LANGUAGE, Shard
from conceptaudit.engine.stage import ShardResult
from conceptaudit.records import SampleBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageLister:
    """Notes the language of every sample, as the dataset's LANGUAGE column has it."""

    name: str = field(default="languages", init=False)
    parts: frozenset[str] = field(default=frozenset({LANGUAGE}), init=False)

    @property
    def settings(self) -> Json:
        """Nothing can be set."""
        return {"stage": self.name}

    def __call__(
        self,
        shard: Shard,  # noqa: ARG002 -- every stage is told its shard
        batches: Iterator[SampleBatch],
    ) -> ShardResult:
        """List one shard."""
        samples: list[int] = []
        languages: list[str] = []
        for batch in batches:
            samples += batch.sample_ids.tolist()
            languages += batch.languages or []
        return ShardResult(
            summary={"n_samples": dict(sorted(Counter(languages).items()))},
            tables={
                ".parquet": pd.DataFrame(
                    {
                        "sample_id": pd.Series(samples, dtype="int64"),
                        "language": pd.Series(languages, dtype="str"),
                    }
                )
            },
        )

"""A seeded draw among images whose captions name a concept; shards are drawn apart and merged."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from conceptaudit.datasets.base import CAPTION, EXTRA, Dataset, Shard
from conceptaudit.longtail.blocks import text_of
from conceptaudit.longtail.safety import unsafe_rows
from conceptaudit.options.longtail import LongTailOptions
from conceptaudit.records import SampleBatch
from conceptaudit.text.tagger import TextTagger, annotator_of

SCHEMES = ("http://", "https://")
NOT_A_URL, NO_CAPTION, NAMES_NOTHING = "no_http_url", "no_caption", "names_no_selected_concept"

Drawn = tuple[str, int, str, str, str, str]
"""Rank in the draw, sample id, URL, caption, key, licence."""


@dataclass(slots=True)
class Draw:
    """The images drawn for each concept so far.

    Parameters
    ----------
    size : int
        Images per concept.
    best : dict of int to dict of str to Drawn
        The lowest ranks by concept (position in the selection) and URL.
    account : Counter of str
        Rows that are not candidates, by reason, and ``"n_samples"``.
    """

    size: int
    best: dict[int, dict[str, Drawn]] = field(default_factory=dict)
    account: Counter[str] = field(default_factory=Counter)

    def add(self, concept: int, drawn: Drawn) -> None:
        """Let an image take part in the draw; of rows with one URL the first stays."""
        here = self.best.setdefault(concept, {})
        here[drawn[2]] = min(here.get(drawn[2], drawn), drawn)
        if len(here) > 2 * self.size:
            self._cut(concept)

    def merge(self, other: Draw) -> None:
        """Add what another shard has drawn."""
        self.account.update(other.account)
        for concept, found in other.best.items():
            for drawn in found.values():
                self.add(concept, drawn)

    def _cut(self, concept: int) -> None:
        kept = sorted(self.best[concept].values())[: self.size]
        self.best[concept] = {drawn[2]: drawn for drawn in kept}

    def of(self, concept: int) -> list[Drawn]:
        """List the images drawn for a concept, in the order of their rows."""
        kept = sorted(self.best.get(concept, {}).values())[: self.size]
        return sorted(kept, key=lambda drawn: drawn[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawShard:
    """Draws from one shard; what an engine sends to a worker.

    Parameters
    ----------
    dataset : Dataset
        A table with captions and URLs.
    tagger : TextTagger
        Says which concepts a caption names.
    ids : tuple of int
        Positions of the selected concepts in the audit's vocabulary.
    options : LongTailOptions
        Of which `n_candidates`, `seed`, `max_unsafe` and `max_watermark` matter here.
    """

    dataset: Dataset
    tagger: TextTagger
    ids: tuple[int, ...]
    options: LongTailOptions

    def __call__(self, shard: Shard) -> Draw:
        """Read a shard and draw."""
        draw = Draw(self.options.n_candidates)
        for batch in self.dataset.read(shard, frozenset({CAPTION, EXTRA})):
            self._take(batch, draw)
        return draw

    def _take(self, batch: SampleBatch, draw: Draw) -> None:
        draw.account["n_samples"] += len(batch)
        for drop in batch.drops:
            if drop.part == "sample":
                draw.account["n_samples"] += 1
                draw.account[drop.reason] += 1
        bad = unsafe_rows(batch.extra, self.options)
        rows = list(self._usable(batch, draw, bad))
        found = annotator_of(self.tagger).tag([caption for _, _, caption in rows])
        positions = {concept: position for position, concept in enumerate(self.ids)}
        licences = (batch.extra or {}).get("license", [None] * len(batch))
        for (i, url, caption), annotated in zip(rows, found, strict=True):
            counts = {} if isinstance(annotated, str) else annotated.counts
            named = [positions[concept] for concept in counts if concept in positions]
            if not named:
                draw.account[NAMES_NOTHING] += 1
            rank = hashlib.sha256(f"{self.options.seed}:{url}".encode()).hexdigest()
            sample, licence = int(batch.sample_ids[i]), text_of(licences[i]) or ""
            for concept in named:
                draw.add(concept, (rank, sample, url, caption, batch.keys[i], licence))

    def _usable(
        self, batch: SampleBatch, draw: Draw, bad: dict[int, tuple[str, str]]
    ) -> Iterator[tuple[int, str, str]]:
        urls = (batch.extra or {}).get("url", [None] * len(batch))
        for i, caption in enumerate(batch.captions or ()):
            url = text_of(urls[i]) or ""
            if not url.lower().startswith(SCHEMES) or not url.isprintable() or " " in url:
                draw.account[NOT_A_URL] += 1
            elif caption is None:
                draw.account[NO_CAPTION] += 1
            elif i in bad:
                draw.account[bad[i][0]] += 1
            else:
                yield i, url, caption

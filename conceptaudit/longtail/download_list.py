"""Which images of a table of URLs to download: those whose captions name a selected concept.

No URL is ever opened here. Of each concept's images a seeded draw is kept, decided by a hash of
URL and seed, so that shards can be looked at apart and in any order.
"""

from __future__ import annotations

import hashlib
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from conceptaudit.artifacts import write_csv, write_parquet
from conceptaudit.datasets import open_dataset
from conceptaudit.datasets.base import CAPTION, EXTRA, Dataset, Shard
from conceptaudit.display import quantity
from conceptaudit.engine import EngineChoice, open_engine
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.longtail.build import choose_concepts
from conceptaudit.longtail.collect import text_of
from conceptaudit.longtail.pool_counts import unsafe_rows
from conceptaudit.longtail.source import read_audit
from conceptaudit.options.longtail import LongTailOptions
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.records import SampleBatch
from conceptaudit.store.outputs import output_files, staged
from conceptaudit.store.places import check_apart, output_path
from conceptaudit.text.pipeline import find_pipeline
from conceptaudit.text.tagger import TextTagger, annotator_of

COLUMNS = ("url", "caption", "key", "concept", "license")


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadList:
    """A list of images to download."""

    path: Path  # the file
    n_images: int  # its rows
    # images per selected concept; one image may be counted for several
    n_by_concept: dict[str, int]
    account: dict[str, int]  # ``n_samples``, and rows that are no candidates by reason

    def command(self, folder: str) -> str:
        """Write the command line that downloads the images into `folder`."""
        kind = "csv" if self.path.suffix.lower() == ".csv" else "parquet"
        return (
            f"img2dataset --url_list {shlex.quote(str(self.path))} --input_format {kind} "
            "--url_col url --caption_col caption --save_additional_columns "
            f'\'["concept","license"]\' --output_format webdataset --resize_mode no '
            f"--output_folder {shlex.quote(folder)}"
        )


def write_download_list(
    run: str | Path,
    table: str | Path,
    path: str | Path,
    *,
    options: LongTailOptions | None = None,
    workers: int | EngineChoice | None = 1,
    progress: Progress | None = None,
) -> DownloadList:
    """List images whose captions name the selected concepts, in a file that img2dataset reads.

    >>> write_download_list("runs/both", "laion.parquet", "wanted.txt")
    Traceback (most recent call last):
    ...
    conceptaudit.errors.ConfigError: --download-list must name a .csv or .parquet file. ...
    """
    options = options or LongTailOptions()
    target = output_path(path)
    check_apart([target], (run, table))
    outputs = output_files("download-list", [target])
    if target.suffix.lower() not in (".csv", ".parquet"):
        raise ConfigError(f"--download-list must name a .csv or .parquet file. Got {path} instead.")
    audit = read_audit(run)
    selection = choose_concepts(audit, options)
    dataset = open_dataset(table, layout=options.layout)
    if CAPTION not in dataset.provides:
        raise ConfigError(
            f"{table} ({dataset.layout}) has no captions, by which images to download are chosen."
        )
    positions = {name: i for i, name in enumerate(audit.vocabulary.names)}
    pipeline = find_pipeline(options.spacy_model)
    task = DrawShard(
        dataset=dataset,
        tagger=TextTagger(vocabulary=audit.vocabulary, pipeline=pipeline, evidence=0),
        ids=tuple(positions[name] for name in selection.concepts),
        options=options,
    )
    draw = _drawn(task, dataset.shards(), workers, progress or SilentProgress())
    if draw.account[NOT_A_URL] == draw.account["n_samples"]:
        raise DataError(f"{table} has no column of http(s) URLs, or all of them are empty.")
    listed = {name: draw.of(i) for i, name in enumerate(selection.concepts)}
    rows = _rows(listed)
    if rows.empty:
        raise DataError(
            f"No caption of {table} names one of the {quantity(len(listed), 'selected concept')}. "
            "Name a larger table, or other concepts."
        )
    with staged(outputs) as files:
        (write_csv if target.suffix.lower() == ".csv" else write_parquet)(files[target], rows)
    return DownloadList(
        path=target,
        n_images=len(rows),
        n_by_concept={name: len(drawn) for name, drawn in listed.items()},
        account=dict(sorted(draw.account.items())),
    )


def _drawn(
    task: DrawShard, shards: Sequence[Shard], workers: int | EngineChoice | None, progress: Progress
) -> Draw:
    size = task.options.n_candidates
    progress.start("captions", len(shards))
    draw = Draw(size)
    for _, part in open_engine(workers, n_items=len(shards)).run(task, shards):
        draw.merge(part)
        progress.advance()
    progress.finish()
    return draw


def _rows(listed: dict[str, list[Drawn]]) -> pd.DataFrame:
    """One row per URL, in the order of the table; an image of several concepts names them all."""
    concepts: dict[str, list[str]] = {}
    images: dict[str, Drawn] = {}
    for name, drawn in listed.items():
        for one in drawn:
            concepts.setdefault(one[2], []).append(name)
            images[one[2]] = min(images.get(one[2], one), one)
    ordered = sorted(images.values(), key=lambda one: one[1])
    rows = [
        (url, caption, key, "|".join(concepts[url]), licence)
        for _, _, url, caption, key, licence in ordered
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype="str")


SCHEMES = ("http://", "https://")
NOT_A_URL, NO_CAPTION, NAMES_NOTHING = "no_http_url", "no_caption", "names_no_selected_concept"

Drawn = tuple[str, int, str, str, str, str]
"""Rank in the draw, sample id, URL, caption, key, licence."""


@dataclass(slots=True)
class Draw:
    """The images drawn for each concept so far."""

    size: int  # images per concept
    # the lowest ranks by concept (position in the selection) and URL
    best: dict[int, dict[str, Drawn]] = field(default_factory=dict)
    # rows that are not candidates, by reason, and ``"n_samples"``
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
    """Draws from one shard; what an engine sends to a worker."""

    dataset: Dataset  # A table with captions and URLs
    tagger: TextTagger  # says which concepts a caption names
    ids: tuple[int, ...]  # positions of the selected concepts in the audit's vocabulary
    # of which `n_candidates`, `seed`, `max_unsafe` and `max_watermark` matter here
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

"""Which images of a table of URLs to download: those whose captions name a selected concept.

No URL is ever opened here. Of each concept's images a seeded draw is kept, decided by a hash of
URL and seed, so that shards can be looked at apart and in any order.
"""

from __future__ import annotations

import hashlib
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    drawn, account = _drawn(task, dataset.shards(), workers, progress or SilentProgress())
    if account[NOT_A_URL] == account["n_samples"]:
        raise DataError(f"{table} has no column of http(s) URLs, or all of them are empty.")
    names = selection.concepts
    rows = _rows(drawn, names)
    if rows.empty:
        raise DataError(
            f"No caption of {table} names one of the {quantity(len(names), 'selected concept')}. "
            "Name a larger table, or other concepts."
        )
    with staged(outputs) as files:
        (write_csv if target.suffix.lower() == ".csv" else write_parquet)(files[target], rows)
    counts = drawn["concept"].value_counts()
    return DownloadList(
        path=target,
        n_images=len(rows),
        n_by_concept={name: int(counts.get(i, 0)) for i, name in enumerate(names)},
        account=dict(sorted(account.items())),
    )


SCHEMES = ("http://", "https://")
NOT_A_URL, NO_CAPTION, NAMES_NOTHING = "no_http_url", "no_caption", "names_no_selected_concept"

# Columns of what was drawn: position of the concept in the selection, rank in the draw, image.
DRAWN = ["concept", "rank", "sample_id", "url", "caption", "key", "license"]


def _drawn(
    task: DrawShard, shards: Sequence[Shard], workers: int | EngineChoice | None, progress: Progress
) -> tuple[pd.DataFrame, Counter[str]]:
    """Draw from all shards; also count the rows that are no candidates, by reason."""
    progress.start("captions", len(shards))
    drawn, account = pd.DataFrame(columns=DRAWN), Counter[str]()
    for _, (part, counts) in open_engine(workers, n_items=len(shards)).run(task, shards):
        drawn = _lowest(pd.concat([drawn, part]), task.options.n_candidates)
        account.update(counts)
        progress.advance()
    progress.finish()
    return drawn, account


def _lowest(drawn: pd.DataFrame, size: int) -> pd.DataFrame:
    """Keep the images with the lowest ranks of each concept; of rows with one URL the first."""
    drawn = drawn.sort_values(["concept", "rank", "sample_id"]).drop_duplicates(["concept", "url"])
    lowest: pd.DataFrame = drawn.groupby("concept").head(size)
    return lowest


def _rows(drawn: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """One row per URL, in the order of the table; an image of several concepts names them all."""
    drawn = drawn.sort_values(["concept", "sample_id"])
    drawn = drawn.assign(concept=[names[concept] for concept in drawn["concept"]])
    named = drawn.groupby("url")["concept"].agg("|".join)
    images = drawn.sort_values("sample_id", kind="stable").drop_duplicates("url")
    images = images.assign(concept=named.reindex(images["url"]).to_numpy())
    return images[list(COLUMNS)].reset_index(drop=True).astype("str")


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawShard:
    """Draws from one shard; what an engine sends to a worker."""

    dataset: Dataset  # a table with captions and URLs
    tagger: TextTagger  # says which concepts a caption names
    ids: tuple[int, ...]  # positions of the selected concepts in the audit's vocabulary
    # of which `n_candidates`, `seed`, `max_unsafe` and `max_watermark` matter here
    options: LongTailOptions

    def __call__(self, shard: Shard) -> tuple[pd.DataFrame, Counter[str]]:
        """Read a shard and draw."""
        drawn, account = pd.DataFrame(columns=DRAWN), Counter[str]()
        for batch in self.dataset.read(shard, frozenset({CAPTION, EXTRA})):
            part = pd.DataFrame(self._named(batch, account), columns=DRAWN)
            # after every batch, so that memory does not grow with the shard
            drawn = _lowest(pd.concat([drawn, part]), self.options.n_candidates)
        return drawn, account

    def _named(self, batch: SampleBatch, account: Counter[str]) -> Iterator[tuple[Any, ...]]:
        """Rows of `DRAWN` for the images whose captions name a selected concept."""
        account["n_samples"] += len(batch)
        for drop in batch.drops:
            if drop.part == "sample":
                account["n_samples"] += 1
                account[drop.reason] += 1
        rows = list(self._usable(batch, account))
        found = annotator_of(self.tagger).tag([caption for _, _, caption in rows])
        positions = {concept: position for position, concept in enumerate(self.ids)}
        licences = (batch.extra or {}).get("license", [None] * len(batch))
        for (i, url, caption), annotated in zip(rows, found, strict=True):
            counts = {} if isinstance(annotated, str) else annotated.counts
            named = [positions[concept] for concept in counts if concept in positions]
            if not named:
                account[NAMES_NOTHING] += 1
            rank = hashlib.sha256(f"{self.options.seed}:{url}".encode()).hexdigest()
            sample, licence = int(batch.sample_ids[i]), text_of(licences[i]) or ""
            for concept in named:
                yield concept, rank, sample, url, caption, batch.keys[i], licence

    def _usable(self, batch: SampleBatch, account: Counter[str]) -> Iterator[tuple[int, str, str]]:
        unsafe = unsafe_rows(batch.extra, self.options)
        urls = (batch.extra or {}).get("url", [None] * len(batch))
        for i, caption in enumerate(batch.captions or ()):
            url = text_of(urls[i]) or ""
            if not url.lower().startswith(SCHEMES) or not url.isprintable() or " " in url:
                account[NOT_A_URL] += 1
            elif caption is None:
                account[NO_CAPTION] += 1
            elif i in unsafe:
                account[unsafe[i][0]] += 1
            else:
                yield i, url, caption

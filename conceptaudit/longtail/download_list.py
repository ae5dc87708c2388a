"""Which images of a table of URLs to download: those whose captions name a selected concept.

No URL is ever opened here. Of each concept's images a seeded draw is kept, decided by a hash of
URL and seed, so that shards can be looked at apart and in any order.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from conceptaudit.artifacts import write_csv, write_parquet
from conceptaudit.datasets import open_dataset
from conceptaudit.datasets.base import CAPTION, Shard
from conceptaudit.engine import EngineChoice, open_engine
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.longtail.build import choose_concepts
from conceptaudit.longtail.draw import NOT_A_URL, Draw, Drawn, DrawShard
from conceptaudit.longtail.source import read_audit
from conceptaudit.options.longtail import LongTailOptions
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.store.outputs import output_files, staged
from conceptaudit.store.places import check_apart, output_path
from conceptaudit.text.pipeline import find_pipeline
from conceptaudit.text.tagger import TextTagger

COLUMNS = ("url", "caption", "key", "concept", "license")


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadList:
    """A list of images to download.

    Parameters
    ----------
    path : Path
        The file.
    n_images : int
        Its rows.
    n_by_concept : dict of str to int
        Images per selected concept; one image may be counted for several.
    account : dict of str to int
        ``n_samples``, and rows that are no candidates by reason.
    """

    path: Path
    n_images: int
    n_by_concept: dict[str, int]
    account: dict[str, int]

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

    Parameters
    ----------
    run : str or Path
        The run folder of ``conceptaudit audit``.
    table : str or Path
        Metadata with captions and URLs.
    path : str or Path
        CSV or parquet to write: ``url, caption, key, concept, license``, a row per URL.
    options : LongTailOptions, optional
        Which concepts; `n_candidates` images are drawn of each.
    workers : int, EngineChoice or None, default 1
        Processes that tag captions; changes no result.
    progress : Progress, optional
        Told of every shard.

    Returns
    -------
    DownloadList

    Raises
    ------
    ConfigError
        The table has no captions, or the file has another ending.
    DataError
        The audit or the table cannot be read, the table has no URL column, or no caption names a
        selected concept.

    Examples
    --------
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
            f"No caption of {table} names one of the {len(listed):,} selected concepts. "
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

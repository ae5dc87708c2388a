"""``conceptaudit index``: find images by text or by example, among all that were embedded."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conceptaudit.cli.arguments import AS_JSON
from conceptaudit.cli.console import complain, emit_json, progress_bar, say, say_reasons, say_table
from conceptaudit.cli.generated import takes_options
from conceptaudit.display import quantity
from conceptaudit.options import shared
from conceptaudit.options.fields import argument, flag, option, optional

if TYPE_CHECKING:
    from conceptaudit.image.index import IndexBuilt, VectorIndex
    from conceptaudit.records import Float32Array

ACTIONS = ("build", "merge", "search", "info", "recall")
EXIT_FAULTS = 1

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


@takes_options
def index(
    action: str = argument(
        "'build' an index from embeddings, 'merge' indexes of parts, 'search' one, print 'info' on "
        "it and check its files, or measure its 'recall' again."
    ),
    target: list[str] = argument(
        "Embeddings (or an audit's run folder) to build from; else the index, to merge several."
    ),
    *,
    out: Path | None = optional("build, merge: folder of the index to write.", flags=("-o",)),
    preset: str = option("auto", "build: one of indexes/*.toml, or 'auto' by size and memory."),
    memory: str | None = optional(
        "build: memory limit such as 6GB; half of the machine's by default."
    ),
    device: str = shared.device(),
    recall: float | None = optional(
        "build: recall@10 to require, in place of what the preset promises."
    ),
    seed: int | None = optional("Decides which vectors train and which test."),
    part: str = option("1/1", "build: '2/4' for the second of four parts, to be merged."),
    trained: str | None = optional("build: index whose training to take over, as parts must."),
    clip: str | None = optional("open_clip model of the vectors; the one on record by default."),
    text: list[str] | None = optional("search: what to look for; repeat for more."),
    image: list[Path] | None = optional("search: image to look for; repeat for more."),
    k: int = option(10, "search: images per query.", flags=("-k",)),
    contact_sheet: Path | None = optional("search: PNG to write with the images found."),
    images: str | None = optional(
        "search: dataset that holds the images; the embedded one by default."
    ),
    queries: Path | None = optional(
        "recall: .npy of query vectors, in place of images of the index."
    ),
    embeddings: str | None = optional("recall, merge: the embeddings, where they have moved."),
    resume: bool = flag("build: replace an index with other settings in OUT."),
    overwrite: bool = flag("build: remove the index that OUT holds."),
    as_json: bool = AS_JSON,
) -> None:
    """Index image embeddings and search them by text or image.

    An index is for search and evidence. Counting compares every image with every concept and
    needs none. Exit code 1: the index finds less than it promises, or its files are damaged.

    \u0008
    Example:
      conceptaudit index build embeddings/ -o indexes/mine --memory 6GB
      conceptaudit index search indexes/mine --text "a photo of a heron" --contact-sheet heron.png
    """
    from conceptaudit.cli.searching import search_index
    from conceptaudit.errors import ConfigError
    from conceptaudit.image.index import build_index, merge_indexes, open_index

    if action not in ACTIONS:
        raise ConfigError(f"The action must be one of {list(ACTIONS)}. Got {action!r} instead.")
    if action in ("build", "merge") and out is None:
        raise ConfigError(f"'index {action}' needs --out: the folder of the index to write.")
    if action != "merge" and len(target) > 1:
        raise ConfigError(f"'index {action}' takes one folder. Got {len(target)} instead.")
    if action == "merge" and out is not None:
        with _ending_on_lost_recall():
            built = merge_indexes(target, out, embeddings=embeddings, overwrite=overwrite)
        _show(built, as_json=as_json)
        return
    if action == "build" and out is not None:
        with _ending_on_lost_recall(), progress_bar() as progress:
            built = build_index(
                target[0], out, part=parse_part(part), trained=trained, preset=preset,
                memory=None if memory is None else parse_size(memory), device=device,
                recall=recall, clip=clip, seed=seed or 0, resume=resume, overwrite=overwrite,
                progress=progress,
            )  # fmt: skip
        _show(built, as_json=as_json)
        return
    if action == "info":
        _info(Path(target[0]), as_json=as_json)
        return
    opened = open_index(target[0])
    if action == "search":
        search_index(
            opened, text or [], image or [], k=k, clip=clip, device=device, sheet=contact_sheet,
            images=images, as_json=as_json,
        )  # fmt: skip
    else:
        _recall(opened, embeddings, queries, seed=1 if seed is None else seed, as_json=as_json)


def parse_size(text: str) -> int:
    """Read a number of bytes as people write it.

    Examples
    --------
    >>> parse_size("6GB"), parse_size("1.5 GiB")
    (6000000000, 1610612736)
    """
    from conceptaudit.errors import ConfigError

    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2].upper() not in UNITS:
        raise ConfigError(
            f"The 'memory' parameter must be a size such as 6GB, 500MB or 8GiB. Got {text!r} "
            "instead."
        )
    return int(float(match[1]) * UNITS[match[2].upper()])


def parse_part(text: str) -> tuple[int, int]:
    """Read a part such as ``2/4``.

    Examples
    --------
    >>> parse_part("2/4")
    (2, 4)
    """
    from conceptaudit.errors import ConfigError

    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None:
        raise ConfigError(f"The 'part' parameter must look like 2/4. Got {text!r} instead.")
    return int(match[1]), int(match[2])


@contextmanager
def _ending_on_lost_recall() -> Iterator[None]:
    """End the program with exit code 1 where an index finds less than it promises."""
    from conceptaudit.image.index import RecallError

    try:
        yield
    except RecallError as error:
        complain(f"error: {error}")
        sys.exit(EXIT_FAULTS)


def _show(built: IndexBuilt, *, as_json: bool) -> None:
    if as_json:
        emit_json({"index": str(built.folder), "reused": built.reused, **built.manifest})
        return
    if built.reused:
        say("note: this index was there already")
    _describe(built.manifest)
    say(f"\nWritten to {built.folder}: index.faiss, samples.parquet, manifest.json")


def _describe(manifest: dict[str, Any]) -> None:
    search, recall = manifest["search"], manifest["recall"]
    say(
        f"{quantity(manifest['n_vectors'], 'vector')} of dimension {manifest['dimension']}, preset "
        f"{manifest['preset']} ({manifest['factory']}), {manifest['bytes']:,} bytes"
    )
    say_reasons(manifest["dropped"], "left out")
    setting = f" at {search['setting']} {search['value']}" if search["setting"] else ""
    say(
        f"recall@{recall['k']}: {recall['value']:.3f} ({recall['low']:.3f} to "
        f"{recall['high']:.3f}; promised {recall['promised']:g}){setting}, on "
        f"{quantity(recall['n_queries'], 'held-out vector')}"
    )
    say(f"model: {manifest.get('clip') or 'not known: name it with --clip when you build'}")


def _info(folder: Path, *, as_json: bool) -> None:
    from conceptaudit.image.index.store import damaged_files, read_index_manifest

    manifest = read_index_manifest(folder)
    damage = damaged_files(folder, manifest)
    if as_json:
        emit_json({**manifest, "damaged": damage})
    else:
        _describe(manifest)
        say(f"built from {manifest.get('source') or 'what it does not say'}")
    if damage:
        complain(f"error: {', '.join(damage)} changed since the index was built: build it again.")
        sys.exit(EXIT_FAULTS)


def _recall(
    opened: VectorIndex,
    embeddings: str | None,
    queries: Path | None,
    *,
    seed: int,
    as_json: bool,
) -> None:
    from conceptaudit.image.index.recall import measure_recall

    vectors = None if queries is None else _read_queries(queries)
    measured = measure_recall(opened, embeddings=embeddings, queries=vectors, seed=seed)
    promised = float(opened.manifest["recall"]["promised"])
    at = opened.manifest["recall"]["k"]
    if as_json:
        emit_json({"recall": [one.as_json() for one in measured], "promised": promised})
    else:
        say_table(
            ["k", "recall", "low", "high", "queries"],
            [[one.k, one.value, one.low, one.high, one.n_queries] for one in measured],
        )
    short = [one for one in measured if one.k == at and one.high < promised]
    if short:
        complain(
            f"error: recall@{at} is {short[0].value:.3f}, below the promised {promised:g}. Build "
            "the index again with a preset that stores vectors more precisely."
        )
        sys.exit(EXIT_FAULTS)


def _read_queries(path: Path) -> Float32Array:
    import numpy as np

    from conceptaudit.errors import DataError
    from conceptaudit.image.vectors import read_array

    vectors = read_array(path, "query vectors")
    if not isinstance(vectors, np.ndarray) or vectors.dtype.kind != "f" or vectors.ndim != 2:
        raise DataError(f"{path} must hold one float array of shape (queries, dimension).")
    if not bool(np.isfinite(vectors).all()):
        raise DataError(f"{path} holds numbers that are not finite.")
    return np.asarray(vectors, dtype=np.float32)

"""A finished run among other people's work: Croissant metadata of it, and what to cite.

The metadata is Croissant 1.0 with the vocabulary for responsible AI, as JSON-LD.

References
----------
.. [1] MLCommons, Croissant format specification 1.0, docs.mlcommons.org/croissant.
.. [2] MLCommons, Croissant RAI specification 1.0, same place.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pandas as pd

from conceptaudit.artifacts import MANIFEST, Json, read_json, write_json
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.reading import read_parquet
from conceptaudit.store.layouts import LAYOUTS

_DATA = Path(__file__).parent / "data"

CROISSANT = "http://mlcommons.org/croissant/1.0"
RAI = "http://mlcommons.org/croissant/RAI/1.0"

_FORMATS = {".csv": "text/csv", ".parquet": "application/x-parquet", ".json": "application/json"}
_LICENCE = "license"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """What is said of one kind of run."""

    noun: str  # what it is
    tables: tuple[str, ...]  # files whose columns are described, where they are there
    collection: str  # the fields of the RAI vocabulary that do not depend on the run
    processing: str
    uses: str


_KINDS = {
    "audit": _Kind(
        noun="Counts of concepts in image-caption data",
        tables=("frequencies.csv", "frequencies.parquet", "aliases.csv"),
        collection="Counts of an existing dataset; no image or caption is in them.",
        processing="Captions were matched with concept names by rules and a spaCy pipeline, images "
        "by an open_clip model where one is named. Samples that could not be used are counted by "
        "reason.",
        uses="Comparing datasets, predicting accuracy, finding rare concepts. Not a description of "
        "single images.",
    ),
    "longtail": _Kind(
        noun="A test set of rare concepts",
        tables=("manifest.csv", "classes.csv", "removed.csv", "selection.csv"),
        collection="Images were taken from an existing pool, ranked by a model for each concept.",
        processing="Exact, perceptual and embedding near-duplicates were removed within and across "
        "classes, classes balanced; removed.csv has the reason for every image left out.",
        uses="Zero-shot classification of rare concepts. Not for training.",
    ),
    "curation": _Kind(
        noun="A weighted subset of image-caption data",
        tables=("kept.parquet", "account.csv", "expected.csv", "summary.csv"),
        collection="A choice among the samples of existing datasets; images and captions are not "
        "in it unless the export says so.",
        processing="Filters, removal of copies, caps and weights in the order of account.csv, "
        "which counts what each step left out.",
        uses="Training image-text models on the subset.",
    ),
}


def write_croissant(
    folder: str | Path, path: str | Path, *, near: str | Path | None = None
) -> None:
    """Write Croissant metadata of an audit, a long-tail set or a curated set."""
    path = Path(path)
    write_json(path, croissant(Path(folder), near=path.parent if near is None else Path(near)))


def croissant(folder: Path, *, near: Path) -> Json:
    """Describe a finished run; see `write_croissant`."""
    manifest = read_json(folder / MANIFEST) if (folder / MANIFEST).is_file() else None
    if not isinstance(manifest, dict) or manifest.get("kind") not in _KINDS:
        raise ConfigError(
            f"{folder} holds no finished audit, long-tail set or curated set, which are what "
            "Croissant metadata is written for."
        )
    kind = _KINDS[manifest["kind"]]
    digests = manifest.get("files")
    files = digests if isinstance(digests, dict) else {}
    tables = [name for name in kind.tables if (folder / name).is_file()]
    licences = _licences(folder)
    name = _slug(folder.resolve().name)
    return {
        "@context": read_json(_DATA / "croissant_context.json"),
        "@type": "sc:Dataset",
        "conformsTo": [CROISSANT, RAI],
        "name": name,
        "description": f"{kind.noun}, made by conceptaudit from {_source(manifest)}.",
        "creator": {"@type": "sc:Organization", "name": "Made with conceptaudit"},
        "license": licences or "unknown",
        "url": os.path.relpath(folder, near),
        "datePublished": _day(folder / MANIFEST),
        "version": _version(manifest),
        "citeAs": 'Udandarao et al., No "Zero-Shot" Without Exponential Data, arXiv:2404.04125',
        "rai:dataCollection": f"{kind.collection} Source: {_source(manifest)}.",
        "rai:dataPreprocessingProtocol": [kind.processing, *_settings(manifest)],
        "rai:dataLimitations": _limitations(manifest, has_licences=bool(licences)),
        "rai:dataUseCases": kind.uses,
        "rai:personalSensitiveInformation": "Not looked for. Web images and captions may show or "
        "name people.",
        "distribution": [_file(folder, one, near, files) for one in tables],
        "recordSet": [_records(folder, one) for one in tables],
    }


def _day(manifest: Path) -> str:
    """Date at which the run was finished; manifests themselves hold no clocks."""
    return datetime.fromtimestamp(manifest.stat().st_mtime, UTC).date().isoformat()


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "run"


def _source(manifest: Mapping[str, Json]) -> str:
    for key in ("dataset", "pool"):
        if isinstance(manifest.get(key), str):
            return str(manifest[key])
    runs = manifest.get("runs")
    return ", ".join(map(str, runs)) if isinstance(runs, dict | list) and runs else "a dataset"


def _version(manifest: Mapping[str, Json]) -> str:
    """Version for a set that may be built again: it changes with the digest of the run."""
    digest = str(manifest.get("digest", ""))
    return f"1.0.0+{digest[:12]}" if re.fullmatch(r"[0-9a-f]{12,}", digest) else "1.0.0"


def _settings(manifest: Mapping[str, Json]) -> Iterator[str]:
    if manifest.get("clip"):
        yield f"Images were looked at by {manifest['clip']}."
    pipeline = manifest.get("pipeline")
    if isinstance(pipeline, dict):
        yield f"Captions were tagged by the spaCy pipeline {pipeline.get('name')}."
    versions = manifest.get("versions")
    if isinstance(versions, dict) and "conceptaudit" in versions:
        yield f"Made with conceptaudit {versions['conceptaudit']}; manifest.json has all versions."


def _limitations(manifest: Mapping[str, Json], *, has_licences: bool) -> list[str]:
    """List what is known to be missing or weak: the run's own notes, and what it dropped."""
    found = [str(note) for note in manifest.get("notes") or ()]
    if isinstance(manifest.get("partial"), dict):
        partial = manifest["partial"]
        found.insert(0, f"Partial: {partial['n_shards']} of {partial['n_all']} shards.")
    account = manifest.get("account")
    sides = account if isinstance(account, dict) else {}
    for side, numbers in sorted(sides.items()):
        dropped = numbers.get("dropped") if isinstance(numbers, dict) else None
        if isinstance(dropped, dict) and dropped:
            reasons = ", ".join(f"{n} {why}" for why, n in sorted(dropped.items()))
            found.append(f"Dropped of {side}: {reasons}.")
    if not has_licences:
        found.append("The licences of the underlying images and captions are not known.")
    return found


def _licences(folder: Path) -> list[str]:
    """Return the licences that the images of a set came with, where their pool named any."""
    path = folder / "manifest.csv"
    if not path.is_file():
        return []
    table = _table(path)
    if _LICENCE not in table:
        return []
    return sorted({str(one).strip() for one in table[_LICENCE].dropna()} - {""})


def _table(path: Path) -> pd.DataFrame:
    if path.suffix == ".parquet":
        return read_parquet(path)
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read {path}: {error}.") from error


def _file(folder: Path, name: str, near: Path, digests: Mapping[str, Json]) -> Json:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": os.path.relpath(folder / name, near),
        "encodingFormat": _FORMATS[Path(name).suffix],
        "sha256": digests.get(name, ""),
    }


def _records(folder: Path, name: str) -> Json:
    """Describe a table's columns; docs/columns.md says what each holds."""
    table = _table(folder / name)
    record_set = _slug(name)
    return {
        "@type": "cr:RecordSet",
        "@id": record_set,
        "name": record_set,
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{record_set}/{column}",
                "name": f"{record_set}/{column}",
                "description": f"See {column} in docs/columns.md of conceptaudit.",
                "dataType": _type(table[column]),
                "source": {"fileObject": {"@id": name}, "extract": {"column": column}},
            }
            for column in map(str, table.columns)
        ],
    }


def _type(column: pd.Series) -> str:
    if pd.api.types.is_bool_dtype(column):
        return "sc:Boolean"
    if pd.api.types.is_integer_dtype(column):
        return "sc:Integer"
    return "sc:Float" if pd.api.types.is_float_dtype(column) else "sc:Text"


# Endings of the names of reference counts by others than the paper, which is cited anyway.
_REFERENCE_COUNTS = (("/clip-beyond-tail", "wen2024"), ("/swat", "liu2025"))

# What a part of a model's or its weights' name stands for.
_WEIGHTS = (
    ("openai", ("radford2021",)),
    ("laion400m", ("schuhmann2021",)),
    ("laion2b", ("schuhmann2022", "cherti2023")),
    ("laion5b", ("schuhmann2022",)),
    ("datacomp", ("gadre2023",)),
    ("commonpool", ("gadre2023",)),
    ("dfn", ("fang2023",)),
    ("metaclip", ("xu2024",)),
    ("siglip", ("zhai2023",)),
)


@cache
def references() -> dict[str, str]:
    """Read our BibTeX entries, by key."""
    entries = (_DATA / "references.bib").read_text(encoding="utf-8").strip().split("\n\n")
    return {entry[entry.index("{") + 1 : entry.index(",")]: entry for entry in entries}


def cited(folder: str | Path) -> str:
    """Return BibTeX of what a finished run rests on."""
    folder = Path(folder)
    manifest = read_json(folder / MANIFEST) if (folder / MANIFEST).is_file() else None
    if not isinstance(manifest, dict) or manifest.get("kind") not in LAYOUTS:
        raise ConfigError(f"{folder} holds no finished run: {MANIFEST} is missing or foreign.")
    keys = ["udandarao2024", *_keys(manifest)]
    versions = manifest.get("versions")
    version = versions.get("conceptaudit", "") if isinstance(versions, dict) else ""
    own = (
        "@software{conceptaudit,\n  author = {{The conceptaudit contributors}},\n"
        "  title = {conceptaudit: Concept Frequency in Image-Caption Data},\n"
        f"  version = {{{version}}},\n"
        "}"
    )
    return "\n\n".join([own, *(references()[key] for key in dict.fromkeys(keys))])


def _keys(manifest: dict[str, Json]) -> Iterator[str]:
    """Yield the keys of what a manifest names."""
    pipeline = manifest.get("pipeline")
    if isinstance(pipeline, dict):
        yield "spacy"
        if pipeline.get("name") == "bundled":
            yield "silveira2014"
            yield "mccrae2019"
    named = {key: manifest.get(key) for key in ("clip", "models", "model", "settings")}
    text = json.dumps(named).casefold()
    models = [word for word, _ in _WEIGHTS if word in text]
    if manifest.get("clip") or manifest.get("models") or models:
        yield "open_clip"
    for word, keys in _WEIGHTS:
        if word in models:
            yield from keys
    if manifest["kind"] == "index":
        yield "douze2024"
    references = json.dumps(manifest.get("reference_counts"))
    for ending, key in _REFERENCE_COUNTS:
        if ending in references:
            yield key

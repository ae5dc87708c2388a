"""The files of a long-tail set."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from conceptaudit.artifacts import MANIFEST, Json, file_digest, write_csv, write_json, write_text
from conceptaudit.datasets.base import IMAGE, Dataset, Shard
from conceptaudit.errors import DataError
from conceptaudit.longtail.balance import Balanced
from conceptaudit.longtail.contact_sheet import ContactSheet
from conceptaudit.longtail.pictures import PictureSet
from conceptaudit.longtail.records import Candidate, Removal
from conceptaudit.longtail.safe_filenames import csv_text, plain_text, safe_part
from conceptaudit.longtail.select import Selection
from conceptaudit.progress import Progress

IMAGES = "images"
IMAGE_TABLE = "manifest.csv"
CLASS_TABLE = "classes.csv"
REMOVED_TABLE = "removed.csv"
SELECTION_TABLE = "selection.csv"
MAX_KEY = 60

IMAGE_COLUMNS = (
    "file",
    "concept",
    "class_index",
    "key",
    "source",
    "score",
    "rank",
    "candidate_rank",
    "runner_up",
    "margin",
    "suspect",
    "phash",
    "sha256",
    "width",
    "height",
    "caption",
    "url",
    "license",
    "why",
)
REMOVED_COLUMNS = ("key", "source", "concept", "reason", "detail", "duplicate_of")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An image of the set and where it belongs."""

    candidate: Candidate  # the image
    class_index: int  # its class
    concept: str  # its class's name
    rank: int  # position in its class, from 1
    file: str  # path below the set's folder; empty where the pool has no images
    why: str  # why the concept was selected


def place_images(balanced: Balanced) -> list[Placed]:
    """Name the file of every image, in the order of classes and ranks."""
    placed = []
    for index, one in enumerate(balanced.included):
        for rank, candidate in enumerate(one.images, start=1):
            picture, key = candidate.picture, candidate.entry.key
            name = f"{rank:04d}_{safe_part(key, limit=MAX_KEY)}"
            placed.append(
                Placed(
                    candidate=candidate,
                    class_index=index,
                    concept=one.concept,
                    rank=rank,
                    file=f"{IMAGES}/{one.folder}/{name}.{picture.extension}" if picture else "",
                    why=str(one.facts["why"]),
                )
            )
    return placed


def write_images(
    folder: Path,
    placed: Sequence[Placed],
    *,
    pictures: PictureSet,
    places: Mapping[str, tuple[int, int]],
    sheet: ContactSheet,
    progress: Progress,
) -> None:
    """Copy the original files of the chosen images."""
    by_shard: dict[int, dict[int, Placed]] = defaultdict(dict)
    for one in placed:
        entry = one.candidate.entry
        shard, sample = places.get(entry.content, (entry.shard, entry.sample_id))
        by_shard[shard][sample] = one
    dataset = pictures.dataset
    progress.start("images", len(placed), "images")
    for number, wanted in sorted(by_shard.items()):
        for sample, data in _read_images(dataset, pictures.shards[number], frozenset(wanted)):
            one = wanted.pop(sample)
            path = folder / one.file
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            except OSError as error:
                raise DataError(f"Cannot write {path}: {error.strerror or error}.") from error
            picture = one.candidate.picture
            if picture is None or file_digest(path) != picture.sha256:
                raise DataError(
                    f"The image {one.candidate.entry.key!r} of {dataset.location} has changed "
                    "while the set was being built. Run again when the pool is at rest."
                )
            sheet.add(one.class_index, one.rank, data)
            progress.advance()
        if wanted:
            keys = sorted(one.candidate.entry.key for one in wanted.values())
            raise DataError(
                f"The image {keys[0]!r} is no longer in {dataset.location}. "
                "Run again when the pool is at rest."
            )
    progress.finish()


def _read_images(
    pool: Dataset, shard: Shard, wanted: frozenset[int]
) -> Iterator[tuple[int, bytes]]:
    left = set(wanted)
    for batch in pool.read(shard, frozenset({IMAGE})):
        for sample, data in zip(batch.sample_ids.tolist(), batch.images or (), strict=True):
            if sample in left and data is not None:
                left.remove(sample)
                yield sample, data
        if not left:
            return


def write_tables(
    folder: Path,
    placed: Sequence[Placed],
    balanced: Balanced,
    removals: Sequence[Removal],
    *,
    selection: Selection,
) -> None:
    """Write the CSV tables; text in them can be opened in a spreadsheet without harm."""
    rows = [_image_row(one) for one in placed]
    write_csv(folder / IMAGE_TABLE, _inert(pd.DataFrame(rows, columns=list(IMAGE_COLUMNS))))
    classes = pd.DataFrame([one.as_json() for one in balanced.classes])
    for name in ("class_index", "n_text", "n_image", "n_joint", "stratum"):
        classes[name] = pd.array(classes[name].tolist(), dtype="Int64")
    write_csv(folder / CLASS_TABLE, _inert(classes))
    ordered = sorted(removals, key=lambda r: (r.reason, r.concept, r.key, r.source, r.detail))
    lost = [[getattr(one, name) for name in REMOVED_COLUMNS] for one in ordered]
    table = pd.DataFrame(lost, columns=list(REMOVED_COLUMNS), dtype=str)
    write_csv(folder / REMOVED_TABLE, _inert(table))
    write_csv(folder / SELECTION_TABLE, _inert(selection.table))


def _image_row(one: Placed) -> dict[str, object]:
    entry, picture = one.candidate.entry, one.candidate.picture
    return {
        "file": one.file,
        "concept": one.concept,
        "class_index": one.class_index,
        "key": entry.key,
        "source": entry.source,
        "score": round(entry.score, 6),
        "rank": one.rank,
        "candidate_rank": one.candidate.rank,
        "runner_up": one.candidate.runner_up,
        "margin": one.candidate.margin if one.candidate.runner_up else None,
        "suspect": one.candidate.suspect,
        "phash": f"{picture.phash:016x}" if picture else "",
        "sha256": picture.sha256 if picture else "",
        "width": picture.width if picture else None,
        "height": picture.height if picture else None,
        "caption": entry.caption or "",
        "url": entry.url,
        "license": entry.license,
        "why": one.why,
    }


def _inert(table: pd.DataFrame) -> pd.DataFrame:
    texts = {
        name: table[name].map(lambda value: csv_text(value) if isinstance(value, str) else value)
        for name in table.columns
        if not pd.api.types.is_numeric_dtype(table[name])
    }
    return table.assign(**texts)


def write_names(folder: Path, balanced: Balanced, templates: Sequence[str]) -> None:
    """Write class names and prompt templates as CLIP_benchmark reads them."""
    names = [plain_text(one.concept) for one in balanced.included]
    write_text(folder / "classnames.txt", "".join(f"{name}\n" for name in names))
    prompts = [plain_text(template).replace("{}", "{c}") for template in templates]
    write_text(
        folder / "zeroshot_classification_templates.txt",
        "".join(f"{prompt}\n" for prompt in prompts),
    )


def write_manifest(
    folder: Path, balanced: Balanced, removals: Sequence[Removal], told: Json
) -> None:
    """Write ``manifest.json``, last: what the set is, what it is made from, and every file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    write_json(
        folder / MANIFEST,
        {
            **told,
            "classes": [one.as_json() for one in balanced.classes],
            "n_classes": len(balanced.included),
            "n_images": sum(len(one.images) for one in balanced.included),
            "removed": dict(sorted(Counter(one.reason for one in removals).items())),
            "files": {path.relative_to(folder).as_posix(): file_digest(path) for path in files},
        },
    )

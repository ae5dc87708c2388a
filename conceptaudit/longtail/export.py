"""Export: the files of a long-tail set, also in the layouts of other tools.

The class folders below ``images/`` are what Hugging Face's ``imagefolder`` reads; the card says so,
and says to people what the set is made of. ``test/`` is what CLIP_benchmark reads.
"""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from conceptaudit.artifacts import (
    MANIFEST,
    Json,
    file_digest,
    whole_file,
    write_csv,
    write_json,
    write_text,
)
from conceptaudit.datasets.base import IMAGE, Dataset, Shard
from conceptaudit.display import quantity
from conceptaudit.errors import DataError
from conceptaudit.image.decode import decode_image
from conceptaudit.longtail.contact_sheet import ContactSheet
from conceptaudit.longtail.pictures import PictureSet
from conceptaudit.longtail.records import REASONS, REMOVED_COLUMNS
from conceptaudit.longtail.safe_filenames import csv_text, plain_text, safe_part
from conceptaudit.progress import Progress

IMAGES = "images"
IMAGE_TABLE = "manifest.csv"
CLASS_TABLE = "classes.csv"
REMOVED_TABLE = "removed.csv"
SELECTION_TABLE = "selection.csv"
MAX_KEY = 60

SPLIT = "test"
# Images per archive.
SHARD_IMAGES = 1_000

# Endings that CLIP_benchmark decodes; other images go in as PNG, pixel for pixel.
READABLE = frozenset({"jpg", "jpeg", "png", "webp"})

_MARKUP = {ord(character): f"&#{ord(character)};" for character in "\\`*_{}[]<>#|!&"}

# Licences that the card lists; the rest is in manifest.csv.
CARD_LICENCES = 50

# Classes that the card lists; the rest is in classes.csv.
CARD_CLASSES = 2_000

IMAGE_COLUMNS = (
    *("file", "concept", "class_index", "key", "source", "score", "rank", "candidate_rank"),
    *("runner_up", "margin", "suspect", "phash", "sha256", "width", "height"),
    *("caption", "url", "license", "why"),
)


def place_images(images: pd.DataFrame) -> pd.DataFrame:
    """Name the file of every image below the set's folder; empty where the pool has no images."""
    if "sha256" not in images:
        return images.assign(file="")
    columns = images[["folder", "number", "key", "extension"]]
    files = [
        f"{IMAGES}/{folder}/{number:04d}_{safe_part(key, limit=MAX_KEY)}.{extension}"
        for folder, number, key, extension in columns.itertuples(index=False, name=None)
    ]
    return images.assign(file=files)


def write_images(
    folder: Path,
    images: pd.DataFrame,
    pictures: PictureSet,
    sheet: ContactSheet,
    progress: Progress,
) -> None:
    """Copy the original files of the chosen images, and give them to the contact sheet."""
    dataset = pictures.dataset
    # images that were embedded elsewhere lie at another place than their vectors
    place = ("image_shard", "image_id") if "image_shard" in images else ("shard", "sample_id")
    progress.start("images", len(images), "images")
    for number, rows in images.groupby(place[0]):
        missing = {row[place[1]]: row for row in rows.to_dict("records")}
        shard = pictures.shards[int(str(number))]
        for sample, data in _read_images(dataset, shard, frozenset(missing)):
            row = missing.pop(sample)
            path = folder / row["file"]
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            except OSError as error:
                raise DataError(f"Cannot write {path}: {error.strerror or error}.") from error
            if file_digest(path) != row["sha256"]:
                raise DataError(
                    f"The image {row['key']!r} of {dataset.location} has changed "
                    "while the set was being built. Run again when the pool is at rest."
                )
            sheet.add(row["class_index"], row["number"], data)
            progress.advance()
        if missing:
            key = min(row["key"] for row in missing.values())
            raise DataError(
                f"The image {key!r} is no longer in {dataset.location}. "
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
    images: pd.DataFrame,
    classes: Sequence[Json],
    removed: pd.DataFrame,
    selection: pd.DataFrame,
) -> None:
    """Write the CSV tables; text in them can be opened in a spreadsheet without harm."""
    write_csv(folder / IMAGE_TABLE, _inert(_image_table(images)))
    by_class = pd.DataFrame(classes)
    for name in ("class_index", "n_text", "n_image", "n_joint", "stratum"):
        by_class[name] = pd.array(by_class[name].tolist(), dtype="Int64")
    write_csv(folder / CLASS_TABLE, _inert(by_class))
    order = ["reason", "concept", "key", "source", "detail"]
    lost = removed.sort_values(order, kind="stable")[list(REMOVED_COLUMNS)]
    write_csv(folder / REMOVED_TABLE, _inert(lost))
    write_csv(folder / SELECTION_TABLE, _inert(selection))


def _image_table(images: pd.DataFrame) -> pd.DataFrame:
    table = images.assign(
        score=images["score"].round(6),
        candidate_rank=images["rank"],
        rank=images["number"],
        margin=images["margin"].where(images["runner_up"] != ""),
    )
    if "phash" in table:
        table["phash"] = [f"{code:016x}" for code in table["phash"].tolist()]
    return table.reindex(columns=list(IMAGE_COLUMNS))


def _inert(table: pd.DataFrame) -> pd.DataFrame:
    texts = {
        name: table[name].map(lambda value: csv_text(value) if isinstance(value, str) else value)
        for name in table.columns
        if not pd.api.types.is_numeric_dtype(table[name])
    }
    return table.assign(**texts)


def write_names(folder: Path, classes: Sequence[Json], templates: Sequence[str]) -> None:
    """Write class names and prompt templates as CLIP_benchmark reads them."""
    names = [plain_text(one["concept"]) for one in classes if one["included"]]
    write_text(folder / "classnames.txt", "".join(f"{name}\n" for name in names))
    prompts = [plain_text(template).replace("{}", "{c}") for template in templates]
    write_text(
        folder / "zeroshot_classification_templates.txt",
        "".join(f"{prompt}\n" for prompt in prompts),
    )


def write_manifest(
    folder: Path, classes: Sequence[Json], removed: pd.DataFrame, facts: Json
) -> None:
    """Write ``manifest.json``, last: what the set is, what it is made from, and every file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    write_json(
        folder / MANIFEST,
        {
            **facts,
            "classes": classes,
            "n_classes": sum(one["included"] for one in classes),
            "n_images": sum(one["n_images"] for one in classes),
            "removed": dict(sorted(Counter(removed["reason"].tolist()).items())),
            "files": {path.relative_to(folder).as_posix(): file_digest(path) for path in files},
        },
    )


def write_archives(site: Path, images: pd.DataFrame) -> None:
    """Write ``test/{i}.tar`` and ``test/nshards.txt`` as CLIP_benchmark reads them.

    Names, order and headers of the members depend on the set alone, so that the same set gives the
    same bytes.
    """
    folder = site / SPLIT
    rows = list(zip(range(len(images)), images["file"], images["class_index"], strict=True))
    starts = range(0, len(rows), SHARD_IMAGES)
    for number, start in enumerate(starts):
        with (
            whole_file(folder / f"{number}.tar") as partial,
            tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as archive,
        ):
            for row, file, class_index in rows[start : start + SHARD_IMAGES]:
                ending, data = _readable(site / file)
                _add(archive, f"s{row:07d}.{ending}", data)
                _add(archive, f"s{row:07d}.cls", str(class_index).encode())
    write_text(folder / "nshards.txt", f"{len(starts)}\n")


def _readable(path: Path) -> tuple[str, bytes]:
    data = path.read_bytes()
    ending = path.suffix[1:].lower()
    if ending in READABLE:
        return ending, data
    stream = io.BytesIO()
    decode_image(data).save(stream, "PNG")
    return "png", stream.getvalue()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)  # owner, mode and time are the same for every member
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def write_card(
    site: Path, images: pd.DataFrame, classes: Sequence[Json], removed: pd.DataFrame, facts: Json
) -> None:
    """Write ``README.md``: a Hugging Face dataset card of the set."""
    lines = [*_front_matter(), *_body(images, classes, removed, facts)]
    write_text(site / "README.md", "\n".join(lines) + "\n")


def _front_matter() -> list[str]:
    return [
        "---",
        "license: other",
        "license_name: see-sources",
        "task_categories:",
        "- image-classification",
        "- zero-shot-image-classification",
        "tags:",
        "- long-tail",
        "- conceptaudit",
        "configs:",
        "- config_name: default",
        "  drop_labels: false",
        "  data_files:",
        f"  - split: {SPLIT}",
        f'    path: "{IMAGES}/**"',
        "---",
        "",
    ]


def _body(
    images: pd.DataFrame, classes: Sequence[Json], removed: pd.DataFrame, facts: Json
) -> list[str]:
    included = [one for one in classes if one["included"]]
    reasons = Counter(removed["reason"].tolist())
    return [
        "# A long-tail test set",
        "",
        (
            f"{quantity(len(images), 'image')} of {quantity(len(included), 'concept')} that "
            f"are rare in {_cell(facts['audited'])}."
        ),
        "",
        "## Sources",
        "",
        f"- Frequencies: an audit of {_cell(facts['audited'])} (digest `{facts['run'][:16]}`).",
        f"- Images: {_cell(facts['pool_location'])}, found by {_cell(str(facts['clip_name']))}.",
        "- The images stay under the terms of their sources; this set grants no licence to them.",
        "",
        *_licences(images),
        "## How it was cleaned",
        "",
        *_table(
            ["removed", "reason"],
            [[f"{n:,}", REASONS.get(why, _cell(why))] for why, n in sorted(reasons.items())],
        ),
        "",
        "## Classes",
        "",
        *_table(
            ["class", "concept", "images", "text", "image", "joint"],
            [
                [
                    str(one["class_index"]),
                    _cell(one["concept"]),
                    str(one["n_images"]),
                    *(_count(one.get(name)) for name in ("n_text", "n_image", "n_joint")),
                ]
                for one in included[:CARD_CLASSES]
            ],
        ),
        "",
        "## Notes",
        "",
        *(f"- {_cell(note)}" for note in facts["notes"]),
        "",
        (
            "`manifest.csv` has every image with its key and rank, `removed.csv` every image that "
            "was left out, with the reason; `conceptaudit evaluate` and CLIP_benchmark read this "
            "folder as it is."
        ),
    ]


def _licences(images: pd.DataFrame) -> list[str]:
    """Say under which licences the images are, as far as the pool says."""
    stated = Counter(images["license"].tolist())
    if not any(stated):
        return []
    ordered = sorted(stated.items(), key=lambda item: (-item[1], item[0]))
    shown, others = ordered[:CARD_LICENCES], ordered[CARD_LICENCES:]
    n_others = sum(n for _, n in others)
    rest = (
        [f"And {quantity(n_others, 'image')} under {len(others):,} others.", ""] if others else []
    )
    return [
        "## Licences",
        "",
        "As the pool states them, unchecked; `manifest.csv` has each image's.",
        "",
        *_table(
            ["licence", "images"],
            [[_cell(name) or "not stated", f"{n:,}"] for name, n in shown],
        ),
        "",
        *rest,
    ]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _cell(text: str) -> str:
    """Make text harmless in Markdown: one line, no markup, no HTML."""
    return " ".join(text.split()).translate(_MARKUP)


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"

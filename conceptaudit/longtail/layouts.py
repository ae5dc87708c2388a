"""A finished set in the layouts of other tools: CLIP_benchmark's archives, Hugging Face's card.

The class folders below ``images/`` are what Hugging Face's ``imagefolder`` reads; the card tells it
so, and tells people what the set is made of.
"""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from conceptaudit.artifacts import Json, whole_file, write_text
from conceptaudit.display import quantity
from conceptaudit.image.decode import decode_image
from conceptaudit.longtail.balance import Balanced
from conceptaudit.longtail.export import IMAGES, Placed
from conceptaudit.longtail.records import REASONS, Removal

SPLIT = "test"
SHARD_IMAGES = 1_000
"""Images per archive."""

READABLE = frozenset({"jpg", "jpeg", "png", "webp"})
"""Endings that CLIP_benchmark decodes; other images go in as PNG, pixel for pixel."""

_MARKUP = {ord(character): f"&#{ord(character)};" for character in "\\`*_{}[]<>#|!&"}

CARD_LICENCES = 50
"""Licences that the card lists; the rest is in manifest.csv."""

CARD_CLASSES = 2_000
"""Classes that the card lists; the rest is in classes.csv."""


def write_archives(site: Path, placed: Sequence[Placed]) -> None:
    """Write ``test/{i}.tar`` and ``test/nshards.txt`` as CLIP_benchmark reads them.

    Names, order and headers of the members depend on the set alone, so that the same set gives the
    same bytes.
    """
    folder = site / SPLIT
    starts = range(0, len(placed), SHARD_IMAGES)
    for number, start in enumerate(starts):
        with (
            whole_file(folder / f"{number}.tar") as partial,
            tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as archive,
        ):
            for row, one in enumerate(placed[start : start + SHARD_IMAGES], start=start):
                ending, data = _readable(site / one.file)
                _add(archive, f"s{row:07d}.{ending}", data)
                _add(archive, f"s{row:07d}.cls", str(one.class_index).encode())
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


def write_card(site: Path, balanced: Balanced, removals: Sequence[Removal], told: Json) -> None:
    """Write ``README.md``: a Hugging Face dataset card of the set."""
    lines = [*_front_matter(), *_body(balanced, removals, told)]
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


def _body(balanced: Balanced, removals: Sequence[Removal], told: Json) -> list[str]:
    n_images = sum(len(one.images) for one in balanced.included)
    reasons = Counter(one.reason for one in removals)
    return [
        "# A long-tail test set",
        "",
        (
            f"{quantity(n_images, 'image')} of {quantity(len(balanced.included), 'concept')} that "
            f"are rare in {_cell(told['audited'])}."
        ),
        "",
        "## Sources",
        "",
        f"- Frequencies: an audit of {_cell(told['audited'])} (digest `{told['run'][:16]}`).",
        f"- Images: {_cell(told['pool_location'])}, found by {_cell(str(told['clip_name']))}.",
        "- The images stay under the terms of their sources; this set grants no licence to them.",
        "",
        *_licences(balanced),
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
                    str(one.index),
                    _cell(one.concept),
                    str(len(one.images)),
                    *(_count(one.facts.get(name)) for name in ("n_text", "n_image", "n_joint")),
                ]
                for one in balanced.included[:CARD_CLASSES]
            ],
        ),
        "",
        "## Notes",
        "",
        *(f"- {_cell(note)}" for note in told["notes"]),
        "",
        (
            "`manifest.csv` has every image with its key and rank, `removed.csv` every image that "
            "was left out, with the reason; `conceptaudit evaluate` and CLIP_benchmark read this "
            "folder as it is."
        ),
    ]


def _licences(balanced: Balanced) -> list[str]:
    """Say under which licences the images are, as far as the pool says."""
    told = Counter(image.entry.license for one in balanced.included for image in one.images)
    if not any(told):
        return []
    ordered = sorted(told.items(), key=lambda item: (-item[1], item[0]))
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

"""Searches of ``conceptaudit index``: encode the queries, print the answers, draw them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from conceptaudit.cli.console import complain, emit_json, say, say_table
from conceptaudit.display import quantity

if TYPE_CHECKING:
    from conceptaudit.image.index import VectorIndex
    from conceptaudit.image.index.search import Hit
    from conceptaudit.records import Float32Array


def search_index(
    opened: VectorIndex,
    texts: list[str],
    pictures: list[Path],
    *,
    k: int,
    clip: str | None,
    device: str,
    sheet: Path | None,
    images: str | None,
    as_json: bool,
) -> None:
    """Find images by text and by example, and print, draw or write them."""
    from conceptaudit.errors import ConfigError
    from conceptaudit.image.index.search import nearest_images

    names = [*texts, *(str(path) for path in pictures)]
    if not names:
        raise ConfigError("'index search' needs --text or --image: what to look for.")
    pool = images or opened.manifest.get("images")
    if sheet is not None and pool is None:
        raise ConfigError("--contact-sheet needs --images: the dataset that holds the images.")
    found = nearest_images(opened, _encode(opened, texts, pictures, clip, device), k)
    if as_json:
        emit_json(
            [
                {"query": name, "hits": [_as_json(hit, rank) for rank, hit in enumerate(row, 1)]}
                for name, row in zip(names, found, strict=True)
            ]
        )
    else:
        for name, row in zip(names, found, strict=True):
            say(f"\n{name}")
            _say_hits(row)
    if sheet is not None:
        listed = [[hit.key for hit in row] for row in found]
        missing = _draw(sheet, names, listed, str(pool), k)
        complain(
            f"Without an image in {pool}: {quantity(missing, 'hit')}."
            if missing
            else f"Drew {sheet}"
        )


def _say_hits(hits: list[Hit]) -> None:
    several = any(hit.n_samples > 1 for hit in hits)
    say_table(
        ["rank", "score", "key", *(["captions"] if several else [])],
        [
            [rank, round(hit.score, 6), hit.key, *([hit.n_samples] if several else [])]
            for rank, hit in enumerate(hits, start=1)
        ],
    )


def _as_json(hit: Hit, rank: int) -> dict[str, object]:
    return {
        "rank": rank,
        "key": hit.key,
        "sample_id": hit.sample_id,
        "score": round(hit.score, 6),
        "n_samples": hit.n_samples,
    }


def _encode(
    opened: VectorIndex, texts: list[str], pictures: list[Path], clip: str | None, device: str
) -> Float32Array:
    import numpy as np

    from conceptaudit.errors import ConfigError, DataError
    from conceptaudit.image.clip import find_clip
    from conceptaudit.image.decode import UndecodableImageError, decode_image

    name = clip or opened.manifest.get("clip")
    if name is None:
        raise ConfigError(
            f"The index in {opened.folder} does not say which model made its vectors. Name it "
            "with --clip, for instance ViT-B-32/openai."
        )
    model = find_clip(str(name), device=device)
    opened.check_model(model)
    parts = [model.encode_texts(texts)] if texts else []
    for path in pictures:
        try:
            parts.append(model.encode_images([decode_image(path.read_bytes())]))
        except OSError as error:
            raise DataError(f"Cannot read {path}: {error.strerror or error}.") from error
        except UndecodableImageError as error:
            raise DataError(f"{path} cannot be used: {error.reason} ({error.detail}).") from error
    return np.concatenate(parts)


def _draw(sheet: Path, names: list[str], keys: list[list[str]], pool: str, k: int) -> int:
    """Draw one strip of images per query; return how many images are missing."""
    from conceptaudit.image.decode import UndecodableImageError
    from conceptaudit.image.index.search import fetch_images
    from conceptaudit.longtail.contact_sheet import ContactSheet
    from conceptaudit.store.outputs import output_files, staged
    from conceptaudit.store.partials import ScratchFolder

    pictures = fetch_images(pool, {key for row in keys for key in row})
    drawn = ContactSheet(names, shown=k)
    missing = 0
    for number, row in enumerate(keys):
        for rank, key in enumerate(row, start=1):
            try:
                drawn.add(number, rank, pictures[key])
            except (KeyError, UndecodableImageError):
                missing += 1
    with staged(output_files("contact-sheet", [sheet])) as files, ScratchFolder() as scratch:
        files[sheet].write_bytes(drawn.save(scratch)[0].read_bytes())
    return missing

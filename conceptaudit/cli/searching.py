"""Searches of ``conceptaudit index``: encode the queries, print the answers, draw them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from conceptaudit.cli.console import complain, emit_json, say, say_table

if TYPE_CHECKING:
    from conceptaudit.image.index import VectorIndex
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
    """Find images by text and by example, and print, draw or write them.

    Parameters
    ----------
    opened : VectorIndex
        What is searched.
    texts, pictures : list
        The queries.
    k : int
        Images per query.
    clip : str or None
        Model in place of the one on record.
    device : str
        Where the model runs.
    sheet : Path or None
        Contact sheet to draw.
    images : str or None
        Dataset that holds the pictures, in place of the one on record.
    as_json : bool
        Print JSON.

    Raises
    ------
    ConfigError
        There is no query, no model or no pictures for a contact sheet.
    """
    from conceptaudit.errors import ConfigError

    names = [*texts, *(str(path) for path in pictures)]
    if not names:
        raise ConfigError("'index search' needs --text or --image: what to look for.")
    pool = images or opened.manifest.get("images")
    if sheet is not None and pool is None:
        raise ConfigError("--contact-sheet needs --images: the dataset that holds the pictures.")
    found = opened.search(_encode(opened, texts, pictures, clip, device), k)
    keys = opened.keys(found.sample_ids.ravel().tolist())
    hits = [
        [
            {"rank": rank, "key": keys.get(i, ""), "sample_id": i, "score": round(score, 6)}
            for rank, (i, score) in enumerate(zip(ids, scores, strict=True), start=1)
            if i >= 0
        ]
        for ids, scores in zip(found.sample_ids.tolist(), found.scores.tolist(), strict=True)
    ]
    if as_json:
        emit_json([{"query": name, "hits": row} for name, row in zip(names, hits, strict=True)])
    else:
        for name, row in zip(names, hits, strict=True):
            say(f"\n{name}")
            say_table(
                ["rank", "score", "key"], [[hit["rank"], hit["score"], hit["key"]] for hit in row]
            )
    if sheet is not None:
        listed = [[str(hit["key"]) for hit in row] for row in hits]
        missing = _draw(sheet, names, listed, str(pool), k)
        complain(f"Pictures of {missing:,} hits are not in {pool}." if missing else f"Drew {sheet}")


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
    """Draw one strip of pictures per query; return how many pictures are missing."""
    from tempfile import TemporaryDirectory

    from conceptaudit.artifacts import whole_file
    from conceptaudit.image.decode import UndecodableImageError
    from conceptaudit.image.index.pictures import fetch_pictures
    from conceptaudit.longtail.sheet import ContactSheet

    pictures = fetch_pictures(pool, {key for row in keys for key in row})
    drawn = ContactSheet(names, shown=k)
    missing = 0
    for number, row in enumerate(keys):
        for rank, key in enumerate(row, start=1):
            try:
                drawn.add(number, rank, pictures[key])
            except (KeyError, UndecodableImageError):
                missing += 1
    with TemporaryDirectory() as scratch:
        page = drawn.save(Path(scratch))[0]
        with whole_file(sheet) as partial:
            partial.write_bytes(page.read_bytes())
    return missing

"""Datasets on disk or behind URLs, whatever their layout: `open_dataset` finds out which.

A layout is one module with a frozen dataset class (`base.Dataset`) and an ``open_…`` function.
"""

from collections.abc import Sequence
from pathlib import Path

from conceptaudit.datasets._columns import Choice
from conceptaudit.datasets._files import as_location
from conceptaudit.datasets._listing import list_files
from conceptaudit.datasets._samples import check_rows
from conceptaudit.datasets._table_rows import RowRules
from conceptaudit.datasets.base import (
    CAPTION,
    CAPTION_UNIT,
    DEFAULT_BATCH_ROWS,
    DEFAULT_SHARD_ROWS,
    EMBEDDING,
    EXTRA,
    IMAGE,
    LANGUAGE,
    PARTS,
    Dataset,
    Shard,
)
from conceptaudit.datasets.registry import LAYOUTS, Reading, detect_layout, known_layouts
from conceptaudit.errors import ConfigError

__all__ = [
    "CAPTION",
    "DEFAULT_BATCH_ROWS",
    "DEFAULT_SHARD_ROWS",
    "EMBEDDING",
    "EXTRA",
    "IMAGE",
    "LANGUAGE",
    "LAYOUTS",
    "PARTS",
    "Dataset",
    "Shard",
    "open_dataset",
]


def open_dataset(
    location: str | Path,
    *,
    layout: str = "auto",
    caption_column: str | None = None,
    key_column: str | None = None,
    url_column: str | None = None,
    image_column: str | None = None,
    embedding_array: str | None = None,
    images: str | Path | None = None,
    languages: Sequence[str] = (),
    language_column: str | None = None,
    require_url: bool = False,
    unit: str = CAPTION_UNIT,
    shard_rows: int = DEFAULT_SHARD_ROWS,
) -> Dataset:
    r"""Open a set of image-caption pairs.

    Parameters
    ----------
    location : str or Path
        A file, a folder, a glob pattern, or an fsspec URL (``"s3://…"``) of one of them.
    layout : str
        One of `LAYOUTS`, one that an installed package adds, or ``"auto"`` to find out;
        `Dataset.notes` says what was found.
    caption_column : str or None
        Column of the captions, where the usual names do not fit; for ``"webdataset"`` and
        ``"files"`` the ending of other text members (``"cls"``) or a field of the ``.json``
        members, which then replace the ``.txt`` ones.
    image_column : str or None
        Column of the images of a table, or the ending of the image members of archives
        (``"input.jpg"``), where the usual names do not fit.
    key_column, url_column : str or None
        Columns of the external key and of the URL; tables and embeddings only.
    embedding_array : str or None
        Which array of DataComp's ``.npz`` files to read (``"b32_img"``, ``"l14_img"``).
    images : str, Path or None
        Folder of the images of a COCO captions file, where it is not beside it.
    languages : sequence of str
        Leave out rows in other languages than these codes (``"en"``), as a table's LANGUAGE
        column has them; tables only. None given lets all in.
    language_column : str or None
        That column, where its name is not a known one.
    require_url : bool
        Leave out a table's rows without a URL, as published text counts do.
    unit : {"caption", "document"}
        Documents are of any length: they are never cut. Tables only.
    shard_rows : int
        Rows per shard, at least 1, for layouts that can be cut. Changes no sample and no id.

    Returns
    -------
    Dataset
        Has `shards()`, and `read(shard, parts)` that yields batches of samples.

    Raises
    ------
    ConfigError
        The location does not exist, its layout is not known, or a parameter does not fit it.
    DataError
        No file of it can be read, or no caption column is found.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "captions.tsv")
    >>> _ = path.write_text("a dog\thttp://a/1.jpg\na cat\thttp://a/2.jpg\n")
    >>> dataset = open_dataset(path)
    >>> dataset.layout, sorted(dataset.provides)
    ('table', ['caption'])
    >>> [batch] = dataset.read(dataset.shards()[0], dataset.provides)
    >>> batch.captions, batch.keys
    (['a dog', 'a cat'], ['http://a/1.jpg', 'http://a/2.jpg'])
    >>> folder.cleanup()
    """
    text = as_location(location)
    if layout != "auto" and layout not in known_layouts():
        raise ConfigError(
            f"The 'layout' parameter of open_dataset must be 'auto' or one of "
            f"{list(known_layouts())}. Got {layout!r} instead."
        )
    check_rows(shard_rows)
    listing = list_files(text)
    chosen = detect_layout(listing, text) if layout == "auto" else known_layouts()[layout]
    given = {
        "caption_column": caption_column,
        "key_column": key_column,
        "url_column": url_column,
        "image_column": image_column,
        "embedding_array": embedding_array,
        "images": images,
        "languages": tuple(languages) or None,
        "language_column": language_column,
        "unit": None if unit == CAPTION_UNIT else unit,
    }
    for name, value in given.items():
        if value is not None and name not in chosen.takes:
            raise ConfigError(
                f"The '{name}' parameter of open_dataset must be None for layout {chosen.name!r}. "
                f"Got {value!r} instead."
            )
    reading = Reading(
        choice=Choice(
            caption=caption_column,
            key=key_column,
            url=url_column,
            image=image_column,
            language=language_column,
        ),
        rules=RowRules(languages=tuple(languages), require_url=require_url, unit=unit),
        images=as_location(images) if images is not None else None,
        embedding_array=embedding_array,
        shard_rows=shard_rows,
    )
    return chosen.open(listing, text, reading)

"""Opening an evaluation set: its layout is found out, its names and templates are checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from conceptaudit.artifacts import MANIFEST
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.zeroshot.labelled import EvaluationSet
from conceptaudit.zeroshot.layouts import (
    open_embeddings,
    open_folders,
    open_long_tail,
    open_parquet,
    open_webdataset,
)
from conceptaudit.zeroshot.naming import folded, named_classes, named_templates

__all__ = ["EvaluationSet", "open_evaluation_set"]


def open_evaluation_set(
    location: str | Path,
    *,
    name: str | None = None,
    split: str = "test",
    class_names: str | Path | Sequence[str] | None = None,
    templates: str | Path | Sequence[str] | None = None,
    label_column: str | None = None,
) -> EvaluationSet:
    """Open a set of labelled images in any of the layouts that the field uses.

    Parameters
    ----------
    location : str or Path
        A folder with a folder of images per class; a CLIP_benchmark WebDataset folder
        (``classnames.txt``, ``test/0.tar`` …); parquet with an image and a label column (a file
        or a folder); a long-tail set; or a folder of image embeddings whose metadata have a label
        column, or whose keys begin with the class's folder.
    name : str, optional
        Of the set in the results; the last part of `location` by default.
    split : str
        Which part of a CLIP_benchmark folder, or of parquet files named ``{split}-….parquet``.
    class_names : str, Path or sequence of str, optional
        Names by class index, or a text file with one per line, or ``"imagenet"`` for open_clip's
        names of ImageNet-1k. The set's own by default.
    templates : str, Path or sequence of str, optional
        Prompts with ``{}`` or ``{c}``, or a text file, or ``"imagenet"`` for open_clip's 80 of
        ImageNet. The set's own by default, else "a photo of a {}.".
    label_column : str, optional
        Label column of parquet tables and of embeddings' metadata; the first of
        `naming.LABEL_COLUMNS` by default.

    Returns
    -------
    EvaluationSet

    Raises
    ------
    ConfigError
        There is no such place, or names or templates do not fit it.
    DataError
        It holds no labelled images.
    """
    root = Path(location)
    if not root.exists():
        raise ConfigError(f"There is no evaluation set at {root}.")
    title = name or root.resolve().stem
    given = None if class_names is None else named_classes(class_names)
    if (root / MANIFEST).is_file() and (root / "images").is_dir():
        found = open_long_tail(root, title)
    elif (root / split).is_dir() and any((root / split).glob("*.tar")):
        found = open_webdataset(root, title, split, given)
    elif root.is_dir() and any(root.glob("img_emb/*.npy")):
        found = open_embeddings(root, title, label_column, given)
    elif root.suffix == ".parquet" or (root.is_dir() and any(root.rglob("*.parquet"))):
        found = open_parquet(root, title, split, label_column, given)
    elif root.is_dir():
        found = open_folders(root, title)
    else:
        raise ConfigError(f"An evaluation set is a folder or a parquet file. Got {root} instead.")
    if given is not None:
        found = _renamed(found, given)
    if templates is not None:
        found = replace(found, templates=named_templates(templates))
    return _checked(found)


def _renamed(found: EvaluationSet, names: tuple[str, ...]) -> EvaluationSet:
    """Give the classes other names; for folders by name where all match, else by their order.

    Names that match may be more than the folders: the others are wrong answers that can be given.
    """
    if not found.folders:
        return replace(found, class_names=names)
    own = {
        folded(name): folder for name, folder in zip(found.class_names, found.folders, strict=True)
    }
    own |= {folded(folder): folder for folder in found.folders}
    matched = tuple(own.get(folded(name), "") for name in names)
    if set(found.folders) <= set(matched):
        return replace(found, class_names=names, folders=matched)
    if len(names) == len(found.folders):
        return replace(found, class_names=names)
    missing = sorted(set(found.folders) - set(matched))
    raise ConfigError(
        f"Class names must match the folders by name, or be as many as they are "
        f"({len(found.folders):,}) in the order of the sorted folder names. Got {len(names):,} "
        f"names, none of which is the folder {missing[0]!r}'s."
    )


def _checked(found: EvaluationSet) -> EvaluationSet:
    """Refuse a set without classes or templates, and tell of classes that share a name."""
    if len(found.class_names) < 2 or not found.templates:
        raise DataError(
            f"{found.location} must have two classes or more and a prompt template. "
            f"Got {len(found.class_names)} and {len(found.templates)} instead."
        )
    shared = sorted(name for name, n in Counter(found.class_names).items() if n > 1)
    if not shared:
        return found
    told = ", ".join(repr(name) for name in shared[:5])
    note = (
        f"{len(shared)} class name{'s belong' if len(shared) > 1 else ' belongs'} to several "
        f"classes ({told}): no prompt can tell these apart; results carry their class index."
    )
    return replace(found, notes=(*found.notes, note))

"""Opening an evaluation set: its layout is found out, its names and templates are checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from conceptaudit.artifacts import MANIFEST
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.concept_vectors import DEFAULT_TEMPLATES
from conceptaudit.zeroshot.class_folders import folders_of_classes, says_nothing
from conceptaudit.zeroshot.class_names import SHOWN, ClassNames, DatasetKey, named_classes
from conceptaudit.zeroshot.class_prompts import named_prompts, prompts_by_class
from conceptaudit.zeroshot.evaluation_set import EvaluationSet
from conceptaudit.zeroshot.layouts import (
    open_embeddings,
    open_folders,
    open_long_tail,
    open_parquet,
    open_webdataset,
)

__all__ = ["EvaluationSet", "open_evaluation_set"]


def open_evaluation_set(
    location: str | Path,
    *,
    name: str | None = None,
    split: str = "test",
    class_names: str | Path | Sequence[str] | None = None,
    templates: str | Path | Sequence[str] | None = None,
    label_column: str | None = None,
    dataset_key: str | None = None,
) -> EvaluationSet:
    """Open a set of labelled images in any of the layouts that the field uses.

    Parameters
    ----------
    location : str or Path
        A folder with a folder of images per class (numbers are ordered as numbers); a
        CLIP_benchmark WebDataset folder (``classnames.txt``, ``test/0.tar`` …), or archives with a
        folder per class; parquet with an image and a label column (a file
        or a folder); a long-tail set; or a folder of image embeddings whose metadata have a label
        column, or whose keys begin with the class's folder.
    name : str, optional
        Of the set in the results; the last part of `location` by default.
    split : str
        Which part of a CLIP_benchmark folder, of an image folder with a folder per split, or of
        parquet files named ``{split}-….parquet``.
    class_names : str, Path or sequence of str, optional
        Names by class index, or a file as `naming.named_classes` reads it, or ``"imagenet"`` or
        ``"lvis"`` for the lists that ship. The set's own by default.
    templates : str, Path or sequence of str, optional
        Prompts with ``{}`` or ``{c}``, or a file as `class_prompts.named_prompts` reads it
        (prompts per class, too), or ``"imagenet"`` for open_clip's 80 of ImageNet. The set's own
        by default, else "a photo of a {}.".
    label_column : str, optional
        Label column of parquet tables and of embeddings' metadata; the first of
        `label_columns.LABEL_COLUMNS` by default.
    dataset_key : str, optional
        Which dataset's entry of JSON files that hold names or templates of several; the one
        called `name` by default.

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
    key = DatasetKey(asked=dataset_key, name=title)
    given = None if class_names is None else named_classes(class_names, key)
    opened = _opened(root, title, split, label_column, given)
    if given is not None:
        opened = _renamed(opened, given)
    if templates is not None:
        opened = _prompted(opened, templates, key)
    return _checked(opened, asked_templates=templates is not None)


def _opened(
    root: Path, title: str, split: str, label_column: str | None, given: ClassNames | None
) -> EvaluationSet:
    """Open a set in the layout that is found there."""
    if (root / MANIFEST).is_file() and (root / "images").is_dir():
        return open_long_tail(root, title)
    if root.suffix == ".tar" or any(any(place.glob("*.tar")) for place in (root / split, root)):
        return open_webdataset(root, title, split, given)
    if root.is_dir() and any(root.glob("img_emb/*.npy")):
        return open_embeddings(root, title, label_column, given)
    if root.suffix == ".parquet" or (root.is_dir() and any(root.rglob("*.parquet"))):
        return open_parquet(root, title, split, label_column, given)
    if root.is_dir():
        return open_folders(root, title, split)
    raise ConfigError(
        f"An evaluation set is a folder, a .tar or a parquet file. Got {root} instead."
    )


def _renamed(opened: EvaluationSet, given: ClassNames) -> EvaluationSet:
    """Give the classes other names.

    Names may be more than the folders: the others are wrong answers that can be given.
    """
    renamed = replace(opened, class_names=given.names, names_from_labels=False)
    if not opened.folders:
        return renamed
    folders, note = folders_of_classes(opened.folders, opened.class_names, given, opened.location)
    return replace(renamed, folders=folders, notes=(*opened.notes, *([note] if note else [])))


def _prompted(
    opened: EvaluationSet, templates: str | Path | Sequence[str], key: DatasetKey
) -> EvaluationSet:
    """Give the classes the prompts that the user named."""
    prompts = named_prompts(templates, opened.class_names, key)
    if prompts.of_class is None:
        return replace(opened, templates=prompts.templates)
    of_class, notes = prompts_by_class(prompts.of_class, opened.class_names)
    return replace(opened, class_prompts=of_class, notes=(*opened.notes, *notes))


def _checked(opened: EvaluationSet, *, asked_templates: bool) -> EvaluationSet:
    """Refuse a set without classes or templates, and name classes that no prompt can tell."""
    if len(opened.class_names) < 2 or not opened.templates:
        raise DataError(
            f"{opened.location} must have two classes or more and a prompt template. "
            f"Got {len(opened.class_names)} and {len(opened.templates)} instead."
        )
    notes = []
    wordless = [name for name in opened.class_names if says_nothing(name)]
    if wordless:
        plain = not asked_templates and opened.templates == DEFAULT_TEMPLATES
        if opened.names_from_labels and len(wordless) == len(opened.class_names) and plain:
            raise _no_words(opened)
        notes.append(
            f"{len(wordless):,} of {quantity(len(opened.class_names), 'class name')} are numbers "
            f"or ids ({_some(wordless)}), of which a prompt such as "
            f"{opened.templates[0].replace('{}', wordless[0])!r} says little. Names: --class-names."
        )
    shared = sorted(name for name, n in Counter(opened.class_names).items() if n > 1)
    if shared:
        notes.append(
            f"{quantity(len(shared), 'class name belongs', 'class names belong')} to several "
            f"classes ({_some(shared)}): no prompt can tell these apart; results carry their class "
            "index, and the first of them is what the model is taken to answer."
        )
    return replace(opened, notes=(*opened.notes, *notes))


def _no_words(opened: EvaluationSet) -> DataError:
    first, last = opened.class_names[0], opened.class_names[-1]
    return DataError(
        f"The classes of {opened.location} have no names but {first!r} … {last!r}: a prompt such "
        f"as 'a photo of a {first}.' says nothing. Give names with --class-names (a file with one "
        "per line in the order of the class indices, or 'imagenet' or 'lvis'); where numbers are "
        "what the images show, give --templates that say so ('a photo of the number {}.')."
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:SHOWN])) + (" …" if len(names) > SHOWN else "")

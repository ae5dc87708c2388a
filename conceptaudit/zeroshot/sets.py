"""Opening an evaluation set: its layout is found out, its names and templates are checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from conceptaudit.artifacts import MANIFEST, read_json
from conceptaudit.datasets import CAPTION, Dataset, open_dataset
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.concept_vectors import DEFAULT_TEMPLATES
from conceptaudit.zeroshot.class_labels import (
    Labels,
    folders_of_classes,
    ordered_folders,
    read_label_column,
    says_nothing,
)
from conceptaudit.zeroshot.class_names import (
    CLASS_NAMES,
    ClassNames,
    DatasetKey,
    listed_names,
    named_classes,
    some,
)
from conceptaudit.zeroshot.class_prompts import named_prompts, own_templates, prompts_by_class
from conceptaudit.zeroshot.embedded import embedding_drops
from conceptaudit.zeroshot.evaluation_set import EvaluationSet, grouped

SHARD_IMAGES = 512
"""Images per shard of a folder: what a killed evaluation may lose."""

SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "dev"})
"""Names of folders that are parts of a set, and no classes."""

Names = ClassNames | None
"""Class names that the user gave; None where the set's own are wanted."""


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
        Names by class index, or a file as `class_names.named_classes` reads it, or ``"imagenet"``
        or ``"lvis"`` for the lists that ship. The set's own by default.
    templates : str, Path or sequence of str, optional
        Prompts with ``{}`` or ``{c}``, or a file as `class_prompts.named_prompts` reads it
        (prompts per class, too), or ``"imagenet"`` for open_clip's 80 of ImageNet. The set's own
        by default, else "a photo of a {}.".
    label_column : str, optional
        Label column of parquet tables and of embeddings' metadata; the first of
        `class_labels.LABEL_COLUMNS` by default.
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
        return _open_long_tail(root, title)
    if root.suffix == ".tar" or any(any(place.glob("*.tar")) for place in (root / split, root)):
        return _open_webdataset(root, title, split, given)
    if root.is_dir() and any(root.glob("img_emb/*.npy")):
        return _open_embeddings(root, title, label_column, given)
    if root.suffix == ".parquet" or (root.is_dir() and any(root.rglob("*.parquet"))):
        return _open_parquet(root, title, split, label_column, given)
    if root.is_dir():
        return _open_folders(root, title, split)
    raise ConfigError(
        f"An evaluation set is a folder, a .tar or a parquet file. Got {root} instead."
    )


def _open_folders(root: Path, name: str, split: str) -> EvaluationSet:
    """Open a folder of images per class, or one of such folders per split."""
    folders = _class_folders(root)
    if folders and set(folders) <= SPLITS:
        if split not in folders:
            raise DataError(
                f"{root} has no split {split!r}. Name one with --split: {', '.join(folders)}."
            )
        root /= split
        folders = _class_folders(root)
    if not folders:
        raise DataError(f"{root} has no folders: an image folder holds one per class.")
    return _of_folders(_open_images(root), root, name, folders)


def _class_folders(root: Path) -> tuple[str, ...]:
    """List the folders that stand for classes, leaving out what other programs leave behind."""
    folders = (entry.name for entry in root.iterdir() if entry.is_dir())
    return ordered_folders(f for f in folders if not f.startswith((".", "__MACOSX")))


def _of_folders(dataset: Dataset, root: Path, name: str, folders: tuple[str, ...]) -> EvaluationSet:
    """Make a set whose classes are the first parts of its keys."""
    listed = root / CLASS_NAMES
    names = tuple(folder.replace("_", " ") for folder in folders)
    if listed.is_file():
        names = listed_names(listed).names
        if len(names) != len(folders):
            raise DataError(
                f"{listed} names {quantity(len(names), 'class')}, but there are "
                f"{quantity(len(folders), 'folder')}."
            )
    return EvaluationSet(
        name=name,
        location=str(root),
        class_names=names,
        templates=own_templates(root),
        dataset=dataset,
        folders=folders,
        names_from_labels=not listed.is_file(),
    )


def _key_folders(dataset: Dataset) -> tuple[str, ...] | None:
    """Return the first parts of all keys; None where a key has only one part."""
    keys: Iterable[str] = (
        key
        for shard in dataset.shards()
        for batch in dataset.read(shard, frozenset())
        for key in batch.keys
    )
    folders = {key.partition("/")[0] if "/" in key else "" for key in keys}
    return None if not folders or "" in folders else ordered_folders(folders)


def _open_long_tail(root: Path, name: str) -> EvaluationSet:
    """Open a long-tail set: an image folder whose manifest says which class a folder is."""
    record = read_json(root / MANIFEST)
    listed = record.get("classes") if isinstance(record, dict) else None
    listed = listed if isinstance(listed, list) else []
    classes = [one for one in listed if isinstance(one, dict) and _is_index(one.get("class_index"))]
    ordered = sorted(classes, key=lambda one: int(one["class_index"]))
    if not ordered:
        raise DataError(f"{root / MANIFEST} lists no classes; is it a finished long-tail set?")
    for one in ordered:
        if not isinstance(one.get("concept"), str) or not isinstance(one.get("folder"), str):
            raise DataError(
                f"{root / MANIFEST} is damaged: class {one['class_index']} lacks a concept or a "
                "folder."
            )
    return EvaluationSet(
        name=name,
        location=str(root),
        class_names=tuple(str(one["concept"]) for one in ordered),
        templates=own_templates(root),
        dataset=_open_images(root / "images"),
        folders=tuple(str(one["folder"]) for one in ordered),
    )


def _is_index(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _open_images(root: Path) -> Dataset:
    opened = open_dataset(root, layout="files", shard_rows=SHARD_IMAGES)
    return grouped(opened, SHARD_IMAGES)


def _open_webdataset(root: Path, name: str, split: str, given: Names) -> EvaluationSet:
    """Open archives of images: with labels, as CLIP_benchmark has them, or a folder per class."""
    beside = root if root.is_dir() else root.parent
    archives = root / split if (root / split).is_dir() else root
    dataset = open_dataset(archives, layout="webdataset", caption_column="cls")
    if CAPTION not in dataset.provides:
        folders = _key_folders(dataset)
        if folders is None:
            raise DataError(
                f"The archives of {archives} hold neither labels (.cls) nor a folder per class."
            )
        return _of_folders(dataset, beside, name, folders)
    if given is None and not (beside / CLASS_NAMES).is_file():
        raise DataError(
            f"{beside} has no {CLASS_NAMES}: give the classes' names with --class-names."
        )
    return EvaluationSet(
        name=name,
        location=str(root),
        class_names=(given or listed_names(beside / CLASS_NAMES)).names,
        templates=own_templates(beside),
        dataset=dataset,
    )


def _open_parquet(
    root: Path, name: str, split: str, label_column: str | None, given: Names
) -> EvaluationSet:
    """Open parquet with images and labels; of files named after splits only those of one."""
    files = [root] if root.is_file() else sorted(root.rglob("*.parquet"))
    of_split = [file for file in files if file.name.startswith(f"{split}-")]
    files = of_split or files
    labels = read_label_column(files, label_column, given.names if given else None)
    if not isinstance(labels, Labels):
        raise DataError(
            f"{files[0]} has no label column: it has {labels}. Name one with --label-column."
        )
    pattern = files[0] if len(files) == 1 else files[0].parent / f"{split}-*.parquet"
    location = pattern if of_split or root.is_file() else root
    dataset = open_dataset(
        location, layout="table", caption_column=labels.column, shard_rows=SHARD_IMAGES
    )
    return _of_table(dataset, root, name, labels)


def _of_table(dataset: Dataset, root: Path, name: str, labels: Labels) -> EvaluationSet:
    """Make a set whose labels are a column."""
    return EvaluationSet(
        name=name,
        location=str(root),
        class_names=labels.names,
        templates=own_templates(root if root.is_dir() else root.parent),
        dataset=dataset,
        first_label=labels.first,
        labels_are_names=labels.are_names,
        names_from_labels=labels.from_labels,
        notes=labels.notes,
    )


def _open_embeddings(
    root: Path, name: str, label_column: str | None, given: Names
) -> EvaluationSet:
    """Open a folder of embeddings: labels from the metadata, or the folder that keys begin with."""
    files = sorted(root.glob("metadata/*.parquet"))
    if not files:
        raise DataError(f"{root} has no metadata/*.parquet, so nothing names its images' classes.")
    labels = read_label_column(files, label_column, given.names if given else None)
    n_dropped = len(embedding_drops(root))
    told = f"Images that are not in this folder, could not be embedded: {n_dropped:,}."
    notes = (told,) if n_dropped else ()
    if isinstance(labels, Labels):
        dataset = open_dataset(root, layout="embeddings", caption_column=labels.column)
        opened = _of_table(dataset, root, name, labels)
        return replace(opened, notes=(*opened.notes, *notes))
    dataset = open_dataset(root, layout="embeddings")
    folders = None if label_column is not None else _key_folders(dataset)
    if folders is None:
        raise DataError(
            f"The metadata of {root} have no label column: they have {labels}, and not every "
            "key begins with a class's folder. Name a column with --label-column, or name the "
            "labelled images and these embeddings with --embeddings."
        )
    return replace(_of_folders(dataset, root, name, folders), notes=notes)


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
            f"or ids ({some(map(repr, wordless))}), of which a prompt such as "
            f"{opened.templates[0].replace('{}', wordless[0])!r} says little. Names: --class-names."
        )
    shared = sorted(name for name, n in Counter(opened.class_names).items() if n > 1)
    if shared:
        notes.append(
            f"{quantity(len(shared), 'class name belongs', 'class names belong')} to several "
            f"classes ({some(map(repr, shared))}): no prompt can tell these apart; results carry "
            "their class index, and the first of them is what the model is taken to answer."
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

"""Evaluation sets: labelled images with the names of their classes.

Read are image folders, CLIP_benchmark's WebDataset folders, Hugging Face parquet, and the
long-tail sets that this package builds. Images are read by the layouts of `conceptaudit.datasets`;
this module finds each image's class and the classes' names.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from conceptaudit.artifacts import MANIFEST, Json, digest_of, read_json
from conceptaudit.datasets import CAPTION, IMAGE, Dataset, open_dataset
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.prompts import DEFAULT_TEMPLATES
from conceptaudit.records import Concept, ConceptVocabulary, SampleBatch
from conceptaudit.zeroshot.grouping import grouped

CLASS_NAMES = "classnames.txt"
TEMPLATES = "zeroshot_classification_templates.txt"
"""File names of CLIP_benchmark's WebDataset folders."""

LABEL_COLUMNS = ("label", "labels", "class_index", "cls", "fine_label", "target")
"""Columns of a parquet table that hold the class of an image; the first that is there."""

SHARD_IMAGES = 512
"""Images per shard of a folder: what a killed evaluation may lose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSet:
    """Labelled images and the classes they are classified among.

    Parameters
    ----------
    name : str
        Carried into the results.
    location : str
    class_names : tuple of str
        By class index; a name may occur more than once (ImageNet has two "missile"s).
    templates : tuple of str
        Prompts with ``{}``.
    dataset : Dataset
        Reads the images.
    folders : tuple of str
        For image folders: the folder of each class, below the dataset's location, empty for a
        class without one. No folders at all where the label is read as the sample's caption.
    notes : tuple of str
    """

    name: str
    location: str
    class_names: tuple[str, ...]
    templates: tuple[str, ...]
    dataset: Dataset
    folders: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def parts(self) -> frozenset[str]:
        """What has to be read of a sample."""
        return frozenset({IMAGE}) if self.folders else frozenset({IMAGE, CAPTION})

    @property
    def concepts(self) -> ConceptVocabulary:
        """The classes under unique names; classes that share a name carry their index too."""
        times = Counter(self.class_names)
        return ConceptVocabulary(
            tuple(
                Concept(
                    name=name if times[name] == 1 else f"{name} (class {index})",
                    prompts=tuple(template.replace("{}", name) for template in self.templates),
                    class_index=index,
                    dataset=self.name,
                )
                for index, name in enumerate(self.class_names)
            )
        )

    @property
    def settings(self) -> Json:
        """Everything beside the images that decides what is right."""
        return {
            "classes": digest_of(list(self.class_names)),
            "templates": list(self.templates),
            "folders": digest_of(list(self.folders)),
            "reading": self.dataset.settings,
        }

    def labels(self, batch: SampleBatch) -> list[int | str]:
        """Class index of every sample, or the label's text where it names no class."""
        if self.folders:
            index = {folder: i for i, folder in enumerate(self.folders) if folder}
            texts: Sequence[str | None] = [key.partition("/")[0] for key in batch.keys]
            return [index.get(text or "", text or "") for text in texts]
        texts = batch.captions if batch.captions is not None else [None] * len(batch)
        names = {name: i for i, name in enumerate(self.class_names)}
        return [self._class_of(text, names) for text in texts]

    def _class_of(self, text: str | None, names: dict[str, int]) -> int | str:
        label = (text or "").strip()
        if label.isascii() and label.isdigit():
            index = int(label[:9])
            return index if index < len(self.class_names) else label
        return names.get(label, label)


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
        or a folder); or a long-tail set.
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
        Label column of parquet tables; the first of `LABEL_COLUMNS` by default.

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
    if (root / MANIFEST).is_file() and (root / "images").is_dir():
        found = _open_long_tail(root, title)
    elif (root / split).is_dir() and any((root / split).glob("*.tar")):
        found = _open_webdataset(root, title, split)
    elif root.suffix == ".parquet" or (root.is_dir() and any(root.rglob("*.parquet"))):
        found = _open_parquet(root, title, split, label_column)
    elif root.is_dir():
        found = _open_folders(root, title)
    else:
        raise ConfigError(f"An evaluation set is a folder or a parquet file. Got {root} instead.")
    if class_names is not None:
        found = _renamed(found, _named(class_names))
    if templates is not None:
        found = replace(found, templates=_named_templates(templates))
    return _checked(found)


def _open_folders(root: Path, name: str) -> EvaluationSet:
    folders = tuple(sorted(entry.name for entry in root.iterdir() if entry.is_dir()))
    if not folders:
        raise DataError(f"{root} has no folders: an image folder holds one per class.")
    listed = root / CLASS_NAMES
    names = _lines(listed) if listed.is_file() else tuple(f.replace("_", " ") for f in folders)
    if len(names) != len(folders):
        raise DataError(
            f"{listed} names {len(names):,} classes, but there are {len(folders):,} folders."
        )
    return EvaluationSet(
        name=name,
        location=str(root),
        class_names=names,
        templates=_own_templates(root),
        dataset=_open_images(root),
        folders=folders,
    )


def _open_long_tail(root: Path, name: str) -> EvaluationSet:
    """Open a long-tail set: an image folder whose manifest says which class a folder is."""
    record = read_json(root / MANIFEST)
    classes = [one for one in record.get("classes", []) if one.get("class_index") is not None]
    ordered = sorted(classes, key=lambda one: int(one["class_index"]))
    if not ordered:
        raise DataError(f"{root / MANIFEST} lists no classes; is it a finished long-tail set?")
    return EvaluationSet(
        name=name,
        location=str(root),
        class_names=tuple(str(one["concept"]) for one in ordered),
        templates=_own_templates(root),
        dataset=_open_images(root / "images"),
        folders=tuple(str(one["folder"]) for one in ordered),
    )


def _open_images(root: Path) -> Dataset:
    opened = open_dataset(root, layout="files", shard_rows=SHARD_IMAGES)
    return grouped(opened, SHARD_IMAGES)


def _open_webdataset(root: Path, name: str, split: str) -> EvaluationSet:
    if not (root / CLASS_NAMES).is_file():
        raise DataError(f"{root} has no {CLASS_NAMES}: give the classes' names with --class-names.")
    dataset = open_dataset(root / split, layout="webdataset", caption_column="cls")
    return EvaluationSet(
        name=name,
        location=str(root),
        class_names=_lines(root / CLASS_NAMES),
        templates=_own_templates(root),
        dataset=dataset,
    )


def _open_parquet(root: Path, name: str, split: str, label_column: str | None) -> EvaluationSet:
    import pyarrow.parquet as pq

    files = [root] if root.is_file() else sorted(root.rglob("*.parquet"))
    of_split = [file for file in files if file.name.startswith(f"{split}-")]
    files = of_split or files
    try:
        schema = pq.read_schema(files[0])
    except (OSError, ValueError) as error:
        raise DataError(f"{files[0]} cannot be read as parquet: {error}.") from error
    column = label_column or next((c for c in LABEL_COLUMNS if c in schema.names), None)
    if column is None or column not in schema.names:
        raise DataError(
            f"{files[0]} has no label column: it has {schema.names}. Name one with --label-column."
        )
    names = _hugging_face_names(schema.metadata or {}, column)
    if names is None:
        names = _names_beside_labels(files, schema.names, column)
    pattern = files[0] if len(files) == 1 else files[0].parent / f"{split}-*.parquet"
    location = pattern if of_split or root.is_file() else root
    return EvaluationSet(
        name=name,
        location=str(root),
        class_names=names,
        templates=_own_templates(root if root.is_dir() else root.parent),
        dataset=open_dataset(
            location, layout="table", caption_column=column, shard_rows=SHARD_IMAGES
        ),
    )


def _hugging_face_names(metadata: dict[bytes, bytes], column: str) -> tuple[str, ...] | None:
    """Class names that Hugging Face's ``datasets`` writes into a table's schema."""
    try:
        features: Any = json.loads(metadata[b"huggingface"])["info"]["features"]
        return tuple(str(name) for name in features[column]["names"])
    except (KeyError, ValueError, TypeError):
        return None


def _names_beside_labels(files: Sequence[Path], columns: list[str], label: str) -> tuple[str, ...]:
    """Class names from a column of names beside the labels, or from labels that are names."""
    import pandas as pd

    beside = next((c for c in ("name", "label_name", "class_name", "class") if c in columns), None)
    wanted = [label] if beside in (None, label) else [label, str(beside)]
    table = pd.concat([pd.read_parquet(file, columns=wanted) for file in files])
    if not pd.api.types.is_integer_dtype(table[label]):
        return tuple(sorted({str(value) for value in table[label].dropna()}))
    if len(wanted) == 1:
        raise DataError(
            f"The labels of {files[0]} are numbers and no class names are there. "
            "Give them with --class-names, one per line."
        )
    pairs = table.drop_duplicates(wanted).sort_values(label)
    if pairs[label].duplicated().any() or pairs[label].tolist() != list(range(len(pairs))):
        raise DataError(
            f"The labels of {files[0]} are not 0, 1, 2 … with one name each. "
            "Give the classes' names with --class-names, one per line."
        )
    return tuple(str(value) for value in pairs[wanted[1]])


def _own_templates(root: Path) -> tuple[str, ...]:
    file = root / TEMPLATES
    return _with_braces(_lines(file)) if file.is_file() else DEFAULT_TEMPLATES


def _lines(file: Path) -> tuple[str, ...]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read {file}: {error}.") from error
    return tuple(line.strip() for line in lines if line.strip())


def _named(names: str | Path | Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str | Path):
        if str(names) == "imagenet":
            import open_clip

            return tuple(open_clip.IMAGENET_CLASSNAMES)
        return _lines(Path(names))
    return tuple(names)


def _named_templates(templates: str | Path | Sequence[str]) -> tuple[str, ...]:
    if isinstance(templates, str | Path):
        if str(templates) == "imagenet":
            import open_clip

            return tuple(template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES)
        return _with_braces(_lines(Path(templates)))
    return _with_braces(tuple(templates))


def _with_braces(templates: tuple[str, ...]) -> tuple[str, ...]:
    plain = tuple(template.replace("{c}", "{}") for template in templates)
    for template in plain:
        if template.count("{}") != 1:
            raise ConfigError(
                "A prompt template must hold '{}' (or '{c}') once, where the class's name goes. "
                f"Got {template!r} instead."
            )
    return plain


def _renamed(found: EvaluationSet, names: tuple[str, ...]) -> EvaluationSet:
    """Give the classes other names; for folders by name where all match, else by their order.

    Names that match may be more than the folders: the others are wrong answers that can be given.
    """
    if not found.folders:
        return replace(found, class_names=names)
    own = {
        _folded(name): folder for name, folder in zip(found.class_names, found.folders, strict=True)
    }
    own |= {_folded(folder): folder for folder in found.folders}
    matched = tuple(own.get(_folded(name), "") for name in names)
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


def _folded(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


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

"""Evaluation sets on disk: one function per layout that finds the images, labels and names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from conceptaudit.artifacts import MANIFEST, read_json
from conceptaudit.datasets import Dataset, open_dataset
from conceptaudit.errors import DataError
from conceptaudit.zeroshot.grouping import grouped
from conceptaudit.zeroshot.labelled import EvaluationSet
from conceptaudit.zeroshot.meeting import embedding_drops
from conceptaudit.zeroshot.naming import (
    CLASS_NAMES,
    hugging_face_names,
    label_column_of,
    lines_of,
    names_beside_labels,
    own_templates,
)

SHARD_IMAGES = 512
"""Images per shard of a folder: what a killed evaluation may lose."""

Names = tuple[str, ...] | None
"""Class names that the user gave; None where the set's own are wanted."""


def open_folders(root: Path, name: str) -> EvaluationSet:
    """Open a folder of images per class."""
    folders = tuple(sorted(entry.name for entry in root.iterdir() if entry.is_dir()))
    if not folders:
        raise DataError(f"{root} has no folders: an image folder holds one per class.")
    listed = root / CLASS_NAMES
    names = lines_of(listed) if listed.is_file() else tuple(f.replace("_", " ") for f in folders)
    if len(names) != len(folders):
        raise DataError(
            f"{listed} names {len(names):,} classes, but there are {len(folders):,} folders."
        )
    return EvaluationSet(
        name=name,
        location=str(root),
        class_names=names,
        templates=own_templates(root),
        dataset=_open_images(root),
        folders=folders,
    )


def open_long_tail(root: Path, name: str) -> EvaluationSet:
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


def open_webdataset(root: Path, name: str, split: str, given: Names) -> EvaluationSet:
    """Open a CLIP_benchmark folder: archives of pictures and labels, names beside them."""
    if given is None and not (root / CLASS_NAMES).is_file():
        raise DataError(f"{root} has no {CLASS_NAMES}: give the classes' names with --class-names.")
    dataset = open_dataset(root / split, layout="webdataset", caption_column="cls")
    return EvaluationSet(
        name=name,
        location=str(root),
        class_names=given or lines_of(root / CLASS_NAMES),
        templates=own_templates(root),
        dataset=dataset,
    )


def open_parquet(
    root: Path, name: str, split: str, label_column: str | None, given: Names
) -> EvaluationSet:
    """Open parquet with images and labels; of files named after splits only those of one."""
    files = [root] if root.is_file() else sorted(root.rglob("*.parquet"))
    of_split = [file for file in files if file.name.startswith(f"{split}-")]
    files = of_split or files
    column, names = _labels_of(files, label_column, given)
    if column is None:
        raise DataError(
            f"{files[0]} has no label column: it has {list(names)}. Name one with --label-column."
        )
    pattern = files[0] if len(files) == 1 else files[0].parent / f"{split}-*.parquet"
    location = pattern if of_split or root.is_file() else root
    return EvaluationSet(
        name=name,
        location=str(root),
        class_names=names,
        templates=own_templates(root if root.is_dir() else root.parent),
        dataset=open_dataset(
            location, layout="table", caption_column=column, shard_rows=SHARD_IMAGES
        ),
    )


def open_embeddings(root: Path, name: str, label_column: str | None, given: Names) -> EvaluationSet:
    """Open a folder of embeddings: labels from the metadata, or the folder that keys begin with."""
    files = sorted(root.glob("metadata/*.parquet"))
    if not files:
        raise DataError(f"{root} has no metadata/*.parquet, so nothing names its images' classes.")
    column, names = _labels_of(files, label_column, given)
    n_dropped = len(embedding_drops(root))
    told = f"Pictures that are not in this folder, could not be embedded: {n_dropped:,}."
    notes = (told,) if n_dropped else ()
    if column is not None:
        dataset = open_dataset(root, layout="embeddings", caption_column=column)
        return EvaluationSet(
            name=name,
            location=str(root),
            class_names=names,
            templates=own_templates(root),
            dataset=dataset,
            notes=notes,
        )
    dataset = open_dataset(root, layout="embeddings")
    keys = (
        key
        for shard in dataset.shards()
        for batch in dataset.read(shard, frozenset())
        for key in batch.keys
    )
    folders = {key.partition("/")[0] if "/" in key else "" for key in keys}
    if label_column is not None or "" in folders:
        raise DataError(
            f"The metadata of {root} have no label column: they have {list(names)}, and not every "
            "key begins with a class's folder. Name a column with --label-column, or name the "
            "labelled images and these embeddings with --embeddings."
        )
    ordered = tuple(sorted(folders))
    return EvaluationSet(
        name=name,
        location=str(root),
        class_names=tuple(folder.replace("_", " ") for folder in ordered),
        templates=own_templates(root),
        dataset=dataset,
        folders=ordered,
        notes=notes,
    )


def _labels_of(
    files: Sequence[Path], label_column: str | None, given: Names
) -> tuple[str | None, tuple[str, ...]]:
    """Return the label column and the class names; or None and the columns that are there."""
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(files[0])
    except (OSError, ValueError) as error:
        raise DataError(f"{files[0]} cannot be read as parquet: {error}.") from error
    column = label_column_of(schema.names, label_column)
    if column is None:
        return None, tuple(schema.names)
    if given is not None:
        return column, given
    names = hugging_face_names(schema.metadata or {}, column)
    return column, names or names_beside_labels(files, schema.names, column)

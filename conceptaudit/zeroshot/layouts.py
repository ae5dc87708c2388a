"""Evaluation sets on disk: one function per layout that finds the images, labels and names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from conceptaudit.artifacts import MANIFEST, digest_of, read_json
from conceptaudit.datasets import CAPTION, open_dataset
from conceptaudit.datasets.base import Dataset, Shard
from conceptaudit.display import quantity
from conceptaudit.errors import DataError
from conceptaudit.records import SampleBatch
from conceptaudit.zeroshot.class_folders import ordered_folders
from conceptaudit.zeroshot.class_names import CLASS_NAMES, ClassNames, listed_names
from conceptaudit.zeroshot.class_prompts import own_templates
from conceptaudit.zeroshot.evaluation_set import EvaluationSet
from conceptaudit.zeroshot.label_columns import Labels, read_label_column
from conceptaudit.zeroshot.label_join import embedding_drops

SHARD_IMAGES = 512
"""Images per shard of a folder: what a killed evaluation may lose."""

SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "dev"})
"""Names of folders that are parts of a set, and no classes."""

Names = ClassNames | None
"""Class names that the user gave; None where the set's own are wanted."""


def open_folders(root: Path, name: str, split: str) -> EvaluationSet:
    """Open a folder of images per class, or one of such folders per split."""
    folders = class_folders(root)
    if folders and set(folders) <= SPLITS:
        if split not in folders:
            raise DataError(
                f"{root} has no split {split!r}. Name one with --split: {', '.join(folders)}."
            )
        root /= split
        folders = class_folders(root)
    if not folders:
        raise DataError(f"{root} has no folders: an image folder holds one per class.")
    return _of_folders(_open_images(root), root, name, folders)


def class_folders(root: Path) -> tuple[str, ...]:
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


def open_parquet(
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


def open_embeddings(root: Path, name: str, label_column: str | None, given: Names) -> EvaluationSet:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedDataset:
    """A dataset whose consecutive shards are read together; samples and their ids stay the same."""

    dataset: Dataset
    groups: tuple[tuple[Shard, ...], ...]  # shards of `dataset`, in reading order

    @property
    def layout(self) -> str:
        """As of the dataset."""
        return self.dataset.layout

    @property
    def location(self) -> str:
        """As of the dataset."""
        return self.dataset.location

    @property
    def provides(self) -> frozenset[str]:
        """As of the dataset."""
        return self.dataset.provides

    @property
    def notes(self) -> tuple[str, ...]:
        """As of the dataset."""
        return self.dataset.notes

    @property
    def settings(self) -> dict[str, str]:
        """As of the dataset."""
        return self.dataset.settings

    def shards(self) -> tuple[Shard, ...]:
        """One shard per group, named after its first."""
        return tuple(
            replace(group[0], fingerprint=digest_of([shard.fingerprint for shard in group]))
            for group in self.groups
        )

    def read(self, shard: Shard, parts: frozenset[str]) -> Iterator[SampleBatch]:
        """Read the shards of a group one after the other."""
        [group] = [group for group in self.groups if group[0].name == shard.name]
        for one in group:
            yield from self.dataset.read(one, parts)


def grouped(dataset: Dataset, n_samples: int) -> GroupedDataset:
    """Group a dataset's shards to about `n_samples` each."""
    groups: list[list[Shard]] = []
    room = 0
    for shard in dataset.shards():
        size = shard.stop - shard.start if shard.stop >= 0 else n_samples
        if groups and size <= room:
            groups[-1].append(shard)
            room -= size
        else:
            groups.append([shard])
            room = n_samples - size
    return GroupedDataset(dataset=dataset, groups=tuple(tuple(group) for group in groups))

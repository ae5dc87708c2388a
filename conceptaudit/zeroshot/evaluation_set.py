"""What an evaluation set is: labelled images and the classes they are classified among."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from conceptaudit.artifacts import Json, digest_of
from conceptaudit.datasets import CAPTION, IMAGE, Dataset, Shard
from conceptaudit.datasets.base import Opened
from conceptaudit.records import Concept, ConceptVocabulary, SampleBatch
from conceptaudit.zeroshot.class_names import folded, whole_number


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSet:
    """Labelled images and the classes they are classified among."""

    name: str  # carried into the results
    location: str
    # by class index; a name may occur more than once (ImageNet has two "missile"s)
    class_names: tuple[str, ...]
    templates: tuple[str, ...]  # prompts with ``{}``
    dataset: Dataset  # reads the images
    # for image folders: the folder of each class, below the dataset's location, empty for a class
    # without one. No folders at all where the label is read as the sample's caption
    folders: tuple[str, ...] = ()
    first_label: int = 0  # label of the first class: 0, or 1 where a set counts its classes from 1
    # whether a label that looks like a number is a name all the same
    labels_are_names: bool = False
    # prompts of each class, empty for one that takes the templates; none at all where all do
    class_prompts: tuple[tuple[str, ...], ...] = ()
    # whether nobody named the classes, so that labels or folders stand for names
    names_from_labels: bool = False
    notes: tuple[str, ...] = ()

    @property
    def parts(self) -> frozenset[str]:
        """What has to be read of a sample to classify its image."""
        return self.label_parts | {IMAGE}

    @property
    def label_parts(self) -> frozenset[str]:
        """What has to be read of a sample to know its class."""
        return frozenset() if self.folders else frozenset({CAPTION})

    @property
    def concepts(self) -> ConceptVocabulary:
        """The classes under unique names; classes that share a name carry their index too."""
        times = Counter(self.class_names)
        return ConceptVocabulary(
            tuple(
                Concept(
                    name=name if times[name] == 1 else f"{name} (class {index})",
                    prompts=self._prompts(index),
                    class_index=index,
                    dataset=self.name,
                )
                for index, name in enumerate(self.class_names)
            )
        )

    def _prompts(self, index: int) -> tuple[str, ...]:
        """Return the prompts of a class: its own, or its name in every template."""
        own = self.class_prompts[index] if self.class_prompts else ()
        name = self.class_names[index]
        return own or tuple(template.replace("{}", name) for template in self.templates)

    @property
    def settings(self) -> Json:
        """Everything beside the images that decides what is right."""
        return {
            "classes": digest_of(list(self.class_names)),
            "templates": list(self.templates),
            "folders": digest_of(list(self.folders)),
            "labels": [self.first_label, self.labels_are_names],
            "prompts": digest_of([list(group) for group in self.class_prompts]),
            "reading": self.dataset.settings,
        }

    def labels(self, batch: SampleBatch) -> list[int | str]:
        """Class index of every sample, or the label's text where it names no class."""
        if self.folders:
            index = {folder: i for i, folder in enumerate(self.folders) if folder}
            texts: Sequence[str | None] = [key.partition("/")[0] for key in batch.keys]
            return [index.get(text or "", text or "") for text in texts]
        labels = batch.captions if batch.captions is not None else [None] * len(batch)
        exact, alike = _unique(self.class_names), _unique([folded(n) for n in self.class_names])
        return [self._class_of((label or "").strip(), exact, alike) for label in labels]

    def _class_of(self, label: str, exact: dict[str, int], alike: dict[str, int]) -> int | str:
        """Return the index of a label's class; the label where it is no class's."""
        number = None if self.labels_are_names else whole_number(label)
        if number is not None and 0 <= number - self.first_label < len(self.class_names):
            return number - self.first_label
        return exact.get(label, alike.get(folded(label), label))


def _unique(names: Sequence[str]) -> dict[str, int]:
    """Return the class of each name that belongs to one class only."""
    times = Counter(names)
    return {name: index for index, name in enumerate(names) if times[name] == 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedDataset(Opened):
    """A dataset whose consecutive shards are read together; samples and their ids stay the same."""

    dataset: Dataset
    groups: tuple[tuple[Shard, ...], ...]  # shards of `dataset`, in reading order

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
    return GroupedDataset(
        location=dataset.location,
        provides=dataset.provides,
        notes=dataset.notes,
        settings=dataset.settings,
        dataset=dataset,
        groups=tuple(tuple(group) for group in groups),
    )

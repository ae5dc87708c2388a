"""What an evaluation set is: labelled images and the classes they are classified among."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from conceptaudit.artifacts import Json, digest_of
from conceptaudit.datasets import CAPTION, IMAGE, Dataset
from conceptaudit.records import Concept, ConceptVocabulary, SampleBatch


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
        """What has to be read of a sample to classify its picture."""
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

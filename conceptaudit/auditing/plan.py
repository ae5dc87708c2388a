"""Which sides of a dataset can be audited, and with what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conceptaudit.artifacts import Json, file_digest
from conceptaudit.auditing.options import AuditOptions
from conceptaudit.datasets import open_dataset
from conceptaudit.datasets.base import CAPTION, EMBEDDING, IMAGE, Dataset
from conceptaudit.errors import ConfigError
from conceptaudit.image.clip import ClipModel, find_clip
from conceptaudit.image.prompts import encode_concepts
from conceptaudit.image.stages import ImageEncoder, ImageTagger
from conceptaudit.image.vectors import read_concept_vectors
from conceptaudit.records import ConceptVocabulary
from conceptaudit.text.pipeline import find_pipeline
from conceptaudit.text.tagger import TextTagger, unmatchable_concepts
from conceptaudit.vocabulary import read_concepts


def open_source(dataset: str | Path, options: AuditOptions) -> Dataset:
    """Open the dataset as the options say."""
    return open_dataset(
        dataset,
        layout=options.layout,
        caption_column=options.caption_column,
        key_column=options.key_column,
        url_column=options.url_column,
        shard_rows=options.shard_rows,
    )


def read_vocabulary(
    concepts: str | Path | Sequence[str] | ConceptVocabulary,
) -> tuple[ConceptVocabulary, tuple[str, ...]]:
    """Take a vocabulary as it is, or read the list that the user named, with its notes."""
    if isinstance(concepts, ConceptVocabulary):
        return concepts, ()
    read = read_concepts(concepts)
    return read.vocabulary, read.notes


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPlan:
    """Which sides can be audited, and with what."""

    text: TextTagger | None
    encoder: ImageEncoder | None
    image: ImageTagger | None
    notes: tuple[str, ...]

    @property
    def settings(self) -> Json:
        """Everything that can change a tag, by stage."""
        stages = (self.text, self.encoder, self.image)
        return [None if stage is None else stage.settings for stage in stages]


def plan_audit(dataset: Dataset, vocabulary: ConceptVocabulary, options: AuditOptions) -> AuditPlan:
    """Decide which sides to audit, loading the models that they need.

    Raises
    ------
    ConfigError
        Neither side can be audited with these options.
    """
    notes: list[str] = []
    text = None
    if CAPTION in dataset.provides:
        pipeline = find_pipeline(options.spacy_model, pos=options.pos)
        text = TextTagger(vocabulary=vocabulary, pipeline=pipeline, nested=options.nested)
        notes += [f"{why}: it can never be counted in text." for why in unmatchable_concepts(text)]
    encoder, image = _image_side(dataset, vocabulary, options, notes)
    if text is None and image is None:
        raise ConfigError(
            f"There is nothing to audit: {dataset.location} offers "
            f"{', '.join(sorted(dataset.provides)) or 'nothing'}. Images need --clip; embeddings "
            "need --clip or --concept-vectors."
        )
    return AuditPlan(text=text, encoder=encoder, image=image, notes=tuple(notes))


def _image_side(
    dataset: Dataset, vocabulary: ConceptVocabulary, options: AuditOptions, notes: list[str]
) -> tuple[ImageEncoder | None, ImageTagger | None]:
    has_vectors = options.concept_vectors is not None
    embedded = EMBEDDING in dataset.provides
    if not embedded and IMAGE not in dataset.provides:
        return None, None
    if options.clip is None and not (embedded and has_vectors):
        what = "embeddings" if embedded else "images"
        hint = "--clip or --concept-vectors" if embedded else "--clip"
        notes.append(f"The {what} were not audited: that needs {hint}.")
        return None, None
    clip: ClipModel | None = None
    if options.clip is not None and not (embedded and has_vectors):
        clip = find_clip(options.clip, device=options.device)
    if options.concept_vectors is not None:
        vectors = read_concept_vectors(options.concept_vectors, len(vocabulary))
        source = f"file:{file_digest(Path(options.concept_vectors))}"
    elif clip is not None:
        vectors, source = encode_concepts(vocabulary, clip, options.templates), clip.digest
    notes.append(
        f"Images count from cosine similarity {options.threshold:g}, one threshold for all "
        "concepts and not calibrated: image counts compare concepts roughly, at best."
    )
    tagger = ImageTagger(
        concepts=vectors,
        thresholds=(options.threshold,) * len(vocabulary),
        source=source,
        backend=options.backend,
    )
    encoder = None if embedded or clip is None else ImageEncoder(clip=clip)
    return encoder, tagger

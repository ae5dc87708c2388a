"""Which sides of a dataset can be audited, and with what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from conceptaudit.artifacts import Json, file_digest
from conceptaudit.auditing.calibrating import AUTO, NONE, calibrated_tagger
from conceptaudit.auditing.drawn import DrawnDataset
from conceptaudit.auditing.image_tags import TagFile
from conceptaudit.auditing.mentions import MentionTagger, mention_vocabulary
from conceptaudit.auditing.options import PAPER, AuditOptions
from conceptaudit.auditing.text_mode import choose_text_mode
from conceptaudit.datasets import open_dataset
from conceptaudit.datasets.base import CAPTION, EMBEDDING, IMAGE, LANGUAGE, Dataset
from conceptaudit.datasets.memory import captions_of
from conceptaudit.errors import ConfigError
from conceptaudit.image.calibration import Background, Calibration
from conceptaudit.image.calibration.background import choose_background
from conceptaudit.image.clip import ClipModel, find_clip
from conceptaudit.image.embed import check_embedded_with
from conceptaudit.image.prompts import encode_concepts
from conceptaudit.image.stages import ImageEncoder, ImageTagger
from conceptaudit.image.vectors import read_concept_vectors
from conceptaudit.progress import Progress, announce
from conceptaudit.records import ConceptVocabulary, Float32Array
from conceptaudit.text.fast import FastTextTagger
from conceptaudit.text.languages import LanguageLister
from conceptaudit.text.paper_stages import PaperIndex
from conceptaudit.text.pipeline import find_pipeline, load_pipeline
from conceptaudit.text.tagger import TextTagger, unmatchable_concepts
from conceptaudit.vocabulary import read_concepts

PAPER_NOTE = (
    "Captions were counted by the published algorithm (arXiv:2404.04125), for comparison: bags of "
    "words, case kept, digits and absent terms left out. paper_terms.json has each concept's terms."
)


Source = str | Path | Dataset | pd.DataFrame | Sequence[str | None]
"""What can be audited: a location, a dataset that is open, captions in memory."""


def open_source(dataset: Source, options: AuditOptions) -> Dataset:
    """Open the dataset as the options say, or the part of it that they draw."""
    opened = _open(dataset, options)
    return opened if options.sample is None else DrawnDataset.draw(opened, options.sample)


def _open(dataset: Source, options: AuditOptions) -> Dataset:
    """Open a dataset; one that is open stays as it is."""
    if isinstance(dataset, pd.DataFrame | Sequence) and not isinstance(dataset, str):
        _refuse_file_options(dataset, options)
        return captions_of(
            dataset,
            caption_column=options.caption_column,
            key_column=options.key_column,
            unit=options.unit,
            shard_rows=options.shard_rows,
        )
    if not isinstance(dataset, str | Path):
        return dataset
    return open_dataset(
        dataset,
        layout=options.layout,
        caption_column=options.caption_column,
        image_column=options.image_column,
        key_column=options.key_column,
        url_column=options.url_column,
        languages=options.languages,
        language_column=options.language_column,
        require_url=options.text_mode == PAPER,
        unit=options.unit,
        shard_rows=options.shard_rows,
    )


def _refuse_file_options(
    dataset: pd.DataFrame | Sequence[str | None], options: AuditOptions
) -> None:
    """Refuse what chooses rows or columns that captions in memory do not have."""
    unread = ["languages", "language_column", "url_column", "image_column"]
    if not isinstance(dataset, pd.DataFrame):
        unread += ["caption_column", "key_column"]
    given = next((name for name in unread if getattr(options, name)), None)
    if given is not None:
        raise ConfigError(
            f"The {given!r} parameter is for tables in files and would change nothing here: the "
            f"'dataset' parameter is captions in memory. Got {getattr(options, given)!r} instead; "
            "choose the rows before, or write them as parquet and give its path."
        )


def read_vocabulary(
    concepts: str | Path | Sequence[str] | ConceptVocabulary, dataset_key: str | None = None
) -> tuple[ConceptVocabulary, tuple[str, ...]]:
    """Take a vocabulary as it is, or read the list that the user named, with its notes."""
    if isinstance(concepts, ConceptVocabulary):
        return concepts, ()
    read = read_concepts(concepts, dataset_key=dataset_key)
    return read.vocabulary, read.notes


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPlan:
    """Which sides can be audited, and with what."""

    text: TextTagger | FastTextTagger | PaperIndex | None
    encoder: ImageEncoder | None
    image: ImageTagger | None
    notes: tuple[str, ...]
    languages: LanguageLister | None = None
    vectors: Float32Array | None = None
    background: Background | None = None
    mentions: MentionTagger | None = None
    calibration: Calibration | None = None
    calibrates: bool = False
    tags: TagFile | None = None

    @property
    def settings(self) -> Json:
        """Everything that can change a tag, by stage."""
        stages = (self.text, self.mentions, self.encoder, self.image)
        found = [None if stage is None else stage.settings for stage in stages]
        if self.tags is not None:
            found.append(self.tags.settings)
        if self.calibrates and self.background is not None:
            found.append({"calibration": "auto", "background": self.background.digest})
        return found


def plan_audit(
    dataset: Dataset,
    vocabulary: ConceptVocabulary,
    options: AuditOptions,
    progress: Progress | None = None,
) -> AuditPlan:
    """Decide which sides to audit, loading the models that they need.

    Raises
    ------
    ConfigError
        Neither side can be audited with these options.
    """
    notes: list[str] = []
    # what is quickly checked comes before what loads a model
    tags = None
    if options.image_tags is not None:
        tags = TagFile.find(options.image_tags, options.image_tag_threshold)
    if options.concept_vectors is not None:
        read_concept_vectors(options.concept_vectors, len(vocabulary))
    calibration = None
    if options.calibration not in (AUTO, NONE):
        calibration = Calibration.load(options.calibration)
    text: TextTagger | FastTextTagger | PaperIndex | None = None
    if CAPTION in dataset.provides and options.text_mode == PAPER:
        pipeline = find_pipeline(options.spacy_model, pos=options.pos)
        text = PaperIndex(vocabulary=vocabulary, pipeline=pipeline)
        notes.append(PAPER_NOTE)
    elif CAPTION in dataset.provides:
        announce(progress, f"preparing to find {len(vocabulary):,} concepts in captions")
        pipeline = find_pipeline(options.spacy_model, pos=options.pos)
        text = TextTagger(
            vocabulary=vocabulary,
            pipeline=pipeline,
            nested=options.nested,
            evidence=options.evidence,
            unit=options.unit,
        )
        never = unmatchable_concepts(text)
        if len(never) == len(vocabulary):
            raise ConfigError(
                f"No caption can name any of the {len(vocabulary):,} concepts: {never[0]}. Name a "
                "list of names with --concepts; docs/formats.md has the forms that are known."
            )
        notes += [f"{why}: it can never be counted in text." for why in never]
    announce(progress, f"preparing to find {len(vocabulary):,} concepts in images")
    encoder, image, background = _image_side(dataset, vocabulary, options, notes)
    vectors = None if image is None else image.concepts
    if image is None:
        calibration = None
    if image is not None and calibration is not None:
        calibration.check(vocabulary, image.concepts)
        image = calibrated_tagger(image, calibration)
    if text is None and image is None and tags is None:
        raise ConfigError(
            f"There is nothing to audit: {dataset.location} offers "
            f"{', '.join(sorted(dataset.provides)) or 'nothing'}. Images need --clip; embeddings "
            "need --clip or --concept-vectors."
        )
    if options.by_language and LANGUAGE not in dataset.provides:
        raise ConfigError(
            f"The 'by_language' parameter needs a column of languages, and {dataset.location} has "
            "none that is known. Name it with language_column (--language-column)."
        )
    languages = LanguageLister() if options.by_language else None
    mentions = None
    if isinstance(text, TextTagger):
        mentions = _mentions(text, vocabulary, options, background, image, calibration)
        calibrates = image is not None and options.calibrates
        text, more = choose_text_mode(text, dataset, options, calibrates=calibrates)
        notes += more
    return AuditPlan(
        text=text,
        encoder=encoder,
        image=image,
        notes=tuple(notes),
        languages=languages,
        vectors=vectors,
        background=background,
        mentions=mentions,
        calibration=calibration,
        calibrates=image is not None and isinstance(text, TextTagger) and options.calibrates,
        tags=tags,
    )


def _mentions(
    text: TextTagger,
    vocabulary: ConceptVocabulary,
    options: AuditOptions,
    background: Background | None,
    image: ImageTagger | None,
    calibration: Calibration | None,
) -> MentionTagger | None:
    """Return the stage for kinds where they are asked for, or counts of images rest on them."""
    taught = image is not None and (options.calibrates or calibration is not None)
    return mention_stage(text, vocabulary, background) if taught or options.kinds else None


def mention_stage(
    text: TextTagger, vocabulary: ConceptVocabulary, background: Background | None
) -> MentionTagger | None:
    """Return the stage that finds kinds of concepts too; None where captions are not English."""
    if load_pipeline(text.pipeline.name).lang != "en":
        return None
    nouns = () if background is None else background.names
    extended = mention_vocabulary(vocabulary, nouns)
    return MentionTagger(tagger=replace(text, vocabulary=extended, evidence=0))


def _image_side(
    dataset: Dataset, vocabulary: ConceptVocabulary, options: AuditOptions, notes: list[str]
) -> tuple[ImageEncoder | None, ImageTagger | None, Background | None]:
    has_vectors = options.concept_vectors is not None
    embedded = EMBEDDING in dataset.provides
    if options.image_tags is not None or (not embedded and IMAGE not in dataset.provides):
        return None, None, None
    if options.clip is None and not (embedded and has_vectors):
        what = "embeddings" if embedded else "images"
        hint = "--clip or --concept-vectors" if embedded else "--clip"
        notes.append(f"The {what} were not audited: that needs {hint}.")
        return None, None, None
    clip: ClipModel | None = None
    if options.clip is not None and not (embedded and has_vectors):
        clip = find_clip(
            options.clip,
            device=options.device,
            allow_pickle_weights=options.allow_pickle_weights,
        )
        notes += clip.notes
        if embedded:
            check_embedded_with(dataset.location, clip)
    if options.concept_vectors is not None:
        vectors = read_concept_vectors(options.concept_vectors, len(vocabulary))
        source = f"file:{file_digest(Path(options.concept_vectors))}"
    elif clip is not None:
        source = clip.digest
        vectors = encode_concepts(
            vocabulary, clip, options.templates, aliases=options.alias_prompts
        )
    tagger = ImageTagger(
        concepts=vectors,
        thresholds=(options.fixed_threshold,) * len(vocabulary),
        source=source,
        backend=options.backend,
        device=options.device,
    )
    encoder = None if embedded or clip is None else ImageEncoder(clip=clip)
    background = None
    if options.calibration == AUTO and options.threshold is None:
        background, more = choose_background(
            vectors, clip, templates=options.templates, file=options.background_vectors
        )
        notes += more
    return encoder, tagger, background

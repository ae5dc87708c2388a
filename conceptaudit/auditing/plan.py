"""Planning an audit: which sides of a dataset can be audited, and with what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from conceptaudit.artifacts import Json, RunFolder, digest_of, file_digest
from conceptaudit.auditing.calibrating import AUTO, NONE, calibrated_tagger
from conceptaudit.auditing.mentions import MentionTagger, mention_vocabulary
from conceptaudit.auditing.sources import (
    ROWS_OF_UNKNOWN,
    DrawnDataset,
    Source,
    open_source,
    read_vocabulary,
)
from conceptaudit.auditing.taggers import TagFile, Tagger, TaggerStage, find_taggers
from conceptaudit.datasets.base import (
    CAPTION,
    CAPTION_UNIT,
    EMBEDDING,
    IMAGE,
    LANGUAGE,
    Dataset,
    Shard,
)
from conceptaudit.display import quantity
from conceptaudit.engine import open_engine
from conceptaudit.errors import ConfigError
from conceptaudit.image.calibration import Background, Calibration
from conceptaudit.image.clip import ClipModel, find_clip
from conceptaudit.image.concept_vectors import choose_background, encode_concepts
from conceptaudit.image.embed import check_embedded_with
from conceptaudit.image.stages import ImageEncoder, ImageTagger
from conceptaudit.image.vectors import read_concept_vectors
from conceptaudit.options.audit import EXACT, FAST, PAPER, AuditOptions
from conceptaudit.progress import Progress, announce
from conceptaudit.records import ConceptVocabulary, Float32Array
from conceptaudit.text.paper import PaperIndex
from conceptaudit.text.pipeline import BUNDLED, find_pipeline, load_pipeline
from conceptaudit.text.tagger import (
    LOADER,
    FastTextTagger,
    LanguageLister,
    TextTagger,
    annotator_of,
)

KIND = "audit"

TextStage = TextTagger | FastTextTagger | PaperIndex
"""Our own ways of tagging captions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPlan:
    """An audit that could start: what it reads, what it counts, and with what."""

    dataset: Dataset
    shards: tuple[Shard, ...]
    vocabulary: ConceptVocabulary
    options: AuditOptions
    notes: tuple[str, ...]  # from dataset, concept list and planning
    text: TextStage | TaggerStage | None
    encoder: ImageEncoder | None = None
    image: ImageTagger | None = None  # tags embeddings, at thresholds that may yet be learned
    image_tags: TagFile | TaggerStage | None = None  # tags images instead
    mentions: MentionTagger | None = None  # finds kinds of concepts in captions
    languages: LanguageLister | None = None  # lists the languages of samples
    # shape (n_concepts, dimension): the concepts' vectors before calibration
    vectors: Float32Array | None = None
    background: Background | None = None  # common nouns on which the concepts' vectors are centred
    calibration: Calibration | None = None  # that the user gave
    calibrates: bool = False  # whether thresholds are learned from the captions
    inputs: tuple[str | Path | None, ...] = ()  # places that the audit reads
    # what the run folder's first file holds of the command, so that a merge can repeat it
    about: Json = None
    partial: Json = None  # where only the shards that are done are counted: how many of how many

    @property
    def own_text(self) -> TextStage | None:
        """The stage for captions, where it is one of ours."""
        return None if isinstance(self.text, TaggerStage) else self.text

    @property
    def settings(self) -> Json:
        """Everything that can change a tag, by stage."""
        stages = (self.text, self.mentions, self.encoder, self.image)
        settings = [None if stage is None else stage.settings for stage in stages]
        if self.image_tags is not None:
            settings.append(self.image_tags.settings)
        if self.calibrates and self.background is not None:
            settings.append({"calibration": "auto", "background": self.background.digest})
        return settings

    @property
    def identity(self) -> str:
        """Digest of inputs and settings."""
        options = self.options
        return digest_of(
            {
                "sides": self.settings,
                "reading": self.dataset.settings,
                "shards": [[shard.name, shard.fingerprint] for shard in self.shards],
                "level": options.level,
                "near_duplicates": options.near_duplicates,
                **({"whole": [options.sampled_from, options.share]} if options.is_sample else {}),
                **({} if self.partial is None else {"partial": self.partial}),
            }
        )

    def folder(self, out: str | Path) -> RunFolder:
        """Name the run's folder."""
        return RunFolder.at(
            out,
            kind=KIND,
            digest=self.identity,
            inputs=self.inputs,
            shards=[shard.name for shard in self.shards],
            about=self.about,
        )


PAPER_NOTE = (
    "Captions were counted by the published algorithm (arXiv:2404.04125), for comparison: bags of "
    "words, case kept, digits and absent terms left out. paper_terms.json has each concept's terms."
)


def plan_audit(
    dataset: Source,
    concepts: str | Path | Sequence[str] | ConceptVocabulary,
    options: AuditOptions,
    progress: Progress | None = None,
    *,
    taggers: Sequence[str | Tagger] = (),
) -> AuditPlan:
    """Open an audit's data, decide which sides to audit, and load the models that they need."""
    announce(progress, "reading the concept list")
    vocabulary, list_notes = read_vocabulary(concepts, options.dataset_key)
    announce(progress, "opening the dataset")
    opened = open_source(dataset, options)
    shards = opened.shards()
    # what is quickly checked comes before what loads a model
    named = (*options.taggers, *taggers)
    foreign = find_taggers(named, vocabulary, opened) if named else {}
    image_tags = _image_tags(options, foreign)
    calibration = None
    if options.calibration not in (AUTO, NONE):
        calibration = Calibration.load(options.calibration)
    if options.concept_vectors is not None:
        # read for its errors alone
        read_concept_vectors(options.concept_vectors, len(vocabulary))
    if CAPTION in opened.provides and "text" not in foreign and options.spacy_model == BUNDLED:
        # workers load the pipeline while it is loaded here, too, to plan with it
        open_engine(options.engine_choice, n_items=len(shards)).expect([LOADER])
    notes = [*opened.notes, *list_notes]
    text: TextTagger | PaperIndex | None = None
    if CAPTION in opened.provides and "text" not in foreign:
        announce(progress, f"preparing to find {quantity(len(vocabulary), 'concept')} in captions")
        text = _text_side(vocabulary, options, notes)
    announce(progress, f"preparing to find {quantity(len(vocabulary), 'concept')} in images")
    encoder, image, background = None, None, None
    if image_tags is None:
        encoder, image, background = _image_side(opened, vocabulary, options, notes)
    vectors = None if image is None else image.concepts
    if image is None:
        calibration = None
    elif calibration is not None:
        calibration.check(vocabulary, image.concepts)
        image = calibrated_tagger(image, calibration)
    if text is None and image is None and image_tags is None and "text" not in foreign:
        raise ConfigError(
            f"There is nothing to audit: {opened.location} offers "
            f"{', '.join(sorted(opened.provides)) or 'nothing'}. Images need --clip; embeddings "
            "need --clip or --concept-vectors."
        )
    if options.by_language and LANGUAGE not in opened.provides:
        raise ConfigError(
            f"The 'by_language' parameter needs a column of languages, and {opened.location} has "
            "none that is known. Name it with language_column (--language-column)."
        )
    plan = AuditPlan(
        dataset=opened,
        shards=shards,
        vocabulary=vocabulary,
        options=options,
        notes=(),
        text=foreign.get("text", text),
        encoder=encoder,
        image=image,
        image_tags=image_tags,
        languages=LanguageLister() if options.by_language else None,
        vectors=vectors,
        background=background,
        calibration=calibration,
        inputs=(
            dataset if isinstance(dataset, str | Path) else None,
            concepts if isinstance(concepts, str | Path) else None,
            *options.inputs(),
        ),
        about={
            "dataset": str(dataset) if isinstance(dataset, str | Path) else opened.location,
            "concepts": None if taggers else _repeatable(concepts),
            "options": options.asked(),
        },
    )
    if isinstance(text, TextTagger):
        calibrates = image is not None and options.calibrates
        mode, more = choose_text_mode(text, opened, options, calibrates=calibrates)
        notes += more
        plan = replace(
            plan,
            text=mode,
            mentions=_mentions(text, plan),
            calibrates=calibrates and isinstance(mode, TextTagger),
        )
    return replace(plan, notes=tuple(notes))


def _image_tags(
    options: AuditOptions, foreign: dict[str, TaggerStage]
) -> TagFile | TaggerStage | None:
    """Return what tags images in place of a model."""
    if "image" not in foreign:
        if options.image_tags is None:
            return None
        return TagFile.find(options.image_tags, options.image_tag_threshold)
    if options.clip or options.concept_vectors or options.image_tags:
        raise ConfigError(
            f"Images are tagged by {foreign['image'].label}, or by --clip, --concept-vectors or "
            "--image-tags: choose one."
        )
    return foreign["image"]


def _text_side(
    vocabulary: ConceptVocabulary, options: AuditOptions, notes: list[str]
) -> TextTagger | PaperIndex:
    """Return the exact or the published stage for captions."""
    pipeline = find_pipeline(options.spacy_model, pos=options.pos)
    if options.text_mode == PAPER:
        notes.append(PAPER_NOTE)
        return PaperIndex(vocabulary=vocabulary, pipeline=pipeline)
    text = TextTagger(
        vocabulary=vocabulary,
        pipeline=pipeline,
        nested=options.nested,
        evidence=options.evidence,
        unit=options.unit,
    )
    never = list(annotator_of(text).unmatchable.values())
    if len(never) == len(vocabulary):
        raise ConfigError(
            f"No caption can name any of the {quantity(len(vocabulary), 'concept')}: {never[0]}. "
            "Name a list of names with --concepts; docs/formats.md has the forms that are known."
        )
    notes += [f"{why}: it can never be counted in text." for why in never]
    return text


def _mentions(text: TextTagger, plan: AuditPlan) -> MentionTagger | None:
    """Return the stage for kinds where they are asked for, or counts of images rest on them."""
    options = plan.options
    rests = plan.image is not None and (options.calibrates or plan.calibration is not None)
    return mention_stage(text, plan.vocabulary, plan.background) if rests or options.kinds else None


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
    if not embedded and IMAGE not in dataset.provides:
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


def _repeatable(concepts: str | Path | Sequence[str] | ConceptVocabulary) -> Json:
    """Return what names the same concepts again; a vocabulary object has no name."""
    if isinstance(concepts, ConceptVocabulary):
        return None
    return str(concepts) if isinstance(concepts, str | Path) else list(concepts)


FAST_ABOVE = 1_000_000
"""Captions above which ``auto`` counts fast."""


def choose_text_mode(
    tagger: TextTagger, dataset: Dataset, options: AuditOptions, *, calibrates: bool
) -> tuple[TextTagger | FastTextTagger, tuple[str, ...]]:
    """Return the stage for the captions, and what to tell about the choice."""
    hindrance = _hindrance(tagger, options, calibrates=calibrates)
    if options.text_mode == FAST and hindrance is not None:
        raise ConfigError(
            f"The text mode 'fast' cannot be had with {hindrance}. Use --text-mode exact, or leave "
            "that out."
        )
    if options.text_mode == EXACT:
        return tagger, ()
    fast = FastTextTagger(exact=tagger, error=options.text_error)
    if options.text_mode == FAST:
        return fast, ()
    n = dataset.n if isinstance(dataset, DrawnDataset) else _n_captions(dataset.shards())
    if n <= FAST_ABOVE:
        return tagger, ()
    if hindrance is not None:
        note = (
            f"Every one of about {quantity(n, 'caption')} is decided, which takes long: the fast "
            f"text mode cannot be had with {hindrance}."
        )
        return tagger, (note,)
    return fast, (
        f"With about {quantity(n, 'caption')}, more than {FAST_ABOVE:,}, text is counted fast.",
    )


def _hindrance(tagger: TextTagger, options: AuditOptions, *, calibrates: bool) -> str | None:
    reasons = {
        "documents": options.unit != CAPTION_UNIT,
        "counts by language": options.by_language,
        "co-occurrence": options.cooccurrence,
        "columns": bool(options.columns),
        "thresholds learnt from the captions (--calibration none leaves them out)": calibrates,
    }
    if not annotator_of(tagger).can_sample:
        reasons[f"{options.spacy_model!r}, a pipeline that is not for English"] = True
    return next((reason for reason, holds in reasons.items() if holds), None)


def _n_captions(shards: Sequence[Shard]) -> int:
    return sum(ROWS_OF_UNKNOWN if shard.stop < 0 else shard.stop - shard.start for shard in shards)

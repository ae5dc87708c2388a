"""The plan of an audit: its data, concepts, options, and the stages that will tag."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from conceptaudit.artifacts import Json, RunFolder, digest_of
from conceptaudit.auditing.image_tags import TagFile
from conceptaudit.auditing.mentions import MentionTagger
from conceptaudit.auditing.taggers import TaggerStage
from conceptaudit.datasets.base import Dataset, Shard
from conceptaudit.image.calibration import Background, Calibration
from conceptaudit.image.stages import ImageEncoder, ImageTagger
from conceptaudit.options.audit import AuditOptions
from conceptaudit.records import ConceptVocabulary, Float32Array
from conceptaudit.text.fast import FastTextTagger
from conceptaudit.text.languages import LanguageLister
from conceptaudit.text.paper_stages import PaperIndex
from conceptaudit.text.tagger import TextTagger

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

"""What an audit decides before it touches its run folder: which data, which concepts, which run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conceptaudit.artifacts import Json, RunFolder, digest_of
from conceptaudit.auditing.approximate import index_settings
from conceptaudit.auditing.options import AuditOptions
from conceptaudit.auditing.plan import AuditPlan, Source, open_source, plan_audit, read_vocabulary
from conceptaudit.auditing.run import RunningAudit
from conceptaudit.datasets.base import CAPTION, Dataset, Shard
from conceptaudit.engine import open_engine
from conceptaudit.progress import Progress, announce
from conceptaudit.records import ConceptVocabulary
from conceptaudit.text.pipeline import BUNDLED, LOADER

KIND = "audit"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedAudit:
    """An audit that could start.

    Parameters
    ----------
    dataset : Dataset
    shards : tuple of Shard
    vocabulary : ConceptVocabulary
    plan : AuditPlan
    options : AuditOptions
    notes : tuple of str
        From dataset, concept list and plan.
    identity : str
        Digest of inputs and settings.
    inputs : tuple of str or Path
        Places that the audit reads.
    about : dict
        What the run folder's first file says of the command, so that a merge can repeat it.
    """

    dataset: Dataset
    shards: tuple[Shard, ...]
    vocabulary: ConceptVocabulary
    plan: AuditPlan
    options: AuditOptions
    notes: tuple[str, ...]
    identity: str
    inputs: tuple[str | Path | None, ...]
    about: Json

    def folder(self, out: str | Path) -> RunFolder:
        """Name the run's folder.

        Raises
        ------
        ConfigError, ArtifactMismatchError
            It is a URL, or overlaps with what the audit reads.
        """
        return RunFolder.at(
            out,
            kind=KIND,
            digest=self.identity,
            inputs=self.inputs,
            shards=[shard.name for shard in self.shards],
            about=self.about,
        )

    def start(self, run: RunFolder, progress: Progress) -> RunningAudit:
        """Return the run, in a folder that is held for it."""
        return RunningAudit(
            run=run,
            dataset=self.dataset,
            shards=self.shards,
            vocabulary=self.vocabulary,
            plan=self.plan,
            options=self.options,
            notes=self.notes,
            progress=progress,
        )


def prepare(
    dataset: Source,
    concepts: str | Path | Sequence[str] | ConceptVocabulary,
    options: AuditOptions,
    progress: Progress | None = None,
) -> PreparedAudit:
    """Open an audit's data and models and identify the run.

    Parameters
    ----------
    dataset, concepts, options, progress
        As in `conceptaudit.audit`.

    Raises
    ------
    ConfigError, DataError, MissingDependencyError
        The options or files cannot be used; the message says what to do.
    """
    announce(progress, "reading the concept list")
    vocabulary, notes = read_vocabulary(concepts, options.dataset_key)
    announce(progress, "opening the dataset")
    opened = open_source(dataset, options)
    shards = opened.shards()
    if CAPTION in opened.provides and options.spacy_model == BUNDLED:
        # they load the pipeline while it is loaded here, too, to plan with it
        open_engine(options.engine_choice, n_items=len(shards)).expect([LOADER])
    plan = plan_audit(opened, vocabulary, options, progress)
    identity = digest_of(
        {
            "sides": plan.settings,
            "reading": opened.settings,
            "shards": [[shard.name, shard.fingerprint] for shard in shards],
            "level": options.level,
            "near_duplicates": options.near_duplicates,
            "index": index_settings(options, opened),
            **({"whole": [options.sampled_from, options.share]} if options.is_sample else {}),
        }
    )
    return PreparedAudit(
        dataset=opened,
        shards=shards,
        vocabulary=vocabulary,
        plan=plan,
        options=options,
        notes=(*opened.notes, *notes, *plan.notes),
        identity=identity,
        inputs=(
            dataset if isinstance(dataset, str | Path) else None,
            concepts if isinstance(concepts, str | Path) else None,
            *options.inputs(),
        ),
        about={
            "dataset": str(dataset) if isinstance(dataset, str | Path) else opened.location,
            "concepts": _repeatable(concepts),
            "options": options.asked(),
        },
    )


def _repeatable(concepts: str | Path | Sequence[str] | ConceptVocabulary) -> Json:
    """Return what names the same concepts again; a vocabulary object has no name."""
    if isinstance(concepts, ConceptVocabulary):
        return None
    return str(concepts) if isinstance(concepts, str | Path) else list(concepts)

"""Open vocabulary: which nouns and noun phrases a dataset's captions hold, and how often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conceptaudit.artifacts import (
    RUN_PACKAGES,
    Json,
    RunFolder,
    ShardStore,
    digest_of,
    package_versions,
)
from conceptaudit.datasets import Dataset, Shard, open_dataset
from conceptaudit.engine import StageReport
from conceptaudit.engine.array_tasks import Part, PartRun, mark_finished
from conceptaudit.engine.runner import StageRunner
from conceptaudit.errors import ArtifactMismatchError, DataError
from conceptaudit.noun_vocabulary.merging import (
    is_csv,
    merge_counts,
    write_concepts,
    write_listing_csv,
)
from conceptaudit.noun_vocabulary.stage import NounLister
from conceptaudit.options.vocab import PhraseRule, VocabOptions
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.records import merge_counts as add_counts
from conceptaudit.store.outputs import OutputFile
from conceptaudit.store.places import check_apart, output_path
from conceptaudit.store.run_folder import OVERWRITE
from conceptaudit.text.pipeline import find_pipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedListing:
    """A listing that could start."""

    dataset: Dataset
    shards: tuple[Shard, ...]
    stage: NounLister
    options: VocabOptions
    identity: str  # digest of everything that the shards' counts depend on
    wanted: Json  # everything that the finished listing depends on

    @classmethod
    def of(cls, dataset: str | Path, options: VocabOptions) -> PreparedListing:
        """Open the data and the pipeline."""
        opened = open_dataset(
            dataset,
            layout=options.layout,
            caption_column=options.caption_column,
            key_column=options.key_column,
            url_column=options.url_column,
            language_column=options.language_column,
            languages=options.languages,
            unit=options.unit,
            shard_rows=options.shard_rows,
        )
        stage = NounLister(
            pipeline=find_pipeline(options.spacy_model),
            rule=options.rule,
            captions_per_image=options.captions_per_image,
            unit=options.unit,
        )
        if not stage.parts <= opened.provides:
            raise DataError(f"{opened.location} holds no captions, so there is nothing to list.")
        shards = opened.shards()
        read_from = {
            "reading": opened.settings,
            "shards": [[shard.name, shard.fingerprint] for shard in shards],
        }
        wanted = {
            "stage": stage.settings,
            **read_from,
            "min_count": options.min_count,
            "min_images": options.min_images,
        }
        identity = digest_of([stage.settings, read_from])
        return cls(
            dataset=opened,
            shards=shards,
            stage=stage,
            options=options,
            identity=identity,
            wanted=wanted,
        )

    def run(self, parts: Path, progress: Progress, part: Part | None = None) -> StageReport:
        """List the nouns of every shard, or of a part's share."""
        runner = StageRunner(
            folder=parts,
            workers=self.options.engine_choice,
            progress=progress,
            part=part,
            skip_unreadable=self.options.skip_unreadable,
        )
        return runner.run(self.stage, self.dataset, runner.share(self.shards))


__all__ = [
    "PhraseRule",
    "VocabOptions",
    "VocabRun",
    "list_part",
    "list_vocabulary",
    "parts_of",
    "write_concepts",
]

LISTING, LISTING_CSV = "listing.parquet", "listing.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabRun:
    """A finished listing."""

    path: Path  # the table: ``kind, text, n_captions, n_images``, most frequent first
    n_entries: int
    account: Json  # captions read, used, dropped by reason
    notes: tuple[str, ...]  # what was detected or skipped


def list_vocabulary(
    dataset: str | Path,
    out: str | Path,
    *,
    options: VocabOptions | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> VocabRun:
    """List the nouns and noun phrases of a dataset's captions with exact counts."""
    target = output_path(out)
    output = OutputFile(path=target, kind="vocab")
    parts = parts_of(target)
    check_apart([target, output.manifest, parts], [dataset])
    asked = PreparedListing.of(dataset, options or VocabOptions())
    work = _work(asked, target)
    done = _finished(output, digest_of(asked.wanted), overwrite=overwrite)
    if done is not None:
        if parts.is_dir() and not asked.options.keep_parts:
            with work.hold(resume=True):  # left by a run that was killed at its very end
                work.discard()
        return done
    with work.hold(resume=not overwrite, overwrite=overwrite):
        report = asked.run(parts, progress or SilentProgress())
        run = _merged(asked, report, target, parts)
        output.put(
            _in_form_of(target, parts / LISTING),
            {
                "digest": digest_of(asked.wanted),
                "dataset": asked.dataset.location,
                "settings": {
                    name: value for name, value in asked.wanted.items() if name != "shards"
                },
                "account": run.account,
                "notes": list(run.notes),
                "n_entries": run.n_entries,
                "versions": package_versions(*RUN_PACKAGES, "duckdb"),
            },
        )
        if not asked.options.keep_parts:
            work.discard()
    return run


def _in_form_of(target: Path, listing: Path) -> Path:
    """Return the listing in the format that the target's name asks for."""
    if not is_csv(target):
        return listing
    table = listing.with_name(LISTING_CSV)
    write_listing_csv(listing, table)
    return table


def _work(asked: PreparedListing, target: Path) -> RunFolder:
    """Name the folder beside a listing in which shards are counted."""
    return RunFolder.at(
        parts_of(target),
        kind="vocab",
        digest=asked.identity,
        inputs=(asked.dataset.location,),
        shards=[shard.name for shard in asked.shards],
        about={"dataset": asked.dataset.location},
        options=(OVERWRITE,),
    )


def list_part(
    dataset: str | Path,
    out: str | Path,
    part: Part,
    *,
    options: VocabOptions | None = None,
    progress: Progress | None = None,
) -> PartRun:
    """Count the nouns and noun phrases of one part's share of a dataset.

    Parts may run side by side, be killed and run again. When all are finished, `list_vocabulary`
    with the same arguments adds up.
    """
    target = output_path(out)
    check_apart([target, parts_of(target)], [dataset])
    asked = PreparedListing.of(dataset, options or VocabOptions())
    parts, n_all = parts_of(target), len(asked.shards)
    with _work(asked, target).hold_part(str(part)):
        report = asked.run(parts, progress or SilentProgress(), part)
        mark_finished(parts, part, n_all)
    return PartRun.of(parts, part, n_all, {asked.stage.name: report})


def parts_of(out: Path) -> Path:
    """Where the counts of shards are while a listing is made."""
    return out.with_name(f"{out.name}.parts")


def _merged(asked: PreparedListing, report: StageReport, target: Path, parts: Path) -> VocabRun:
    """Add up the shards' counts."""
    options = asked.options
    names = [shard.name for shard in asked.shards if shard.name not in report.failed]
    n_entries = merge_counts(
        report.store.folder,
        names,
        parts / LISTING,
        spill=parts,
        captions_per_image=options.captions_per_image,
        min_count=options.min_count,
        min_images=options.min_images,
        memory_limit=options.memory_limit,
    )
    return VocabRun(
        path=target,
        n_entries=n_entries,
        account=_account(report.store, names),
        notes=(*asked.dataset.notes, *(f"Skipped: {why}" for why in report.failed.values())),
    )


def _account(store: ShardStore, shards: Sequence[str]) -> Json:
    records = [store.read(shard) for shard in shards]
    return {
        "n_samples": sum(record["n_samples"] for record in records),
        "n_used": sum(record["n_used"] for record in records),
        "dropped": add_counts([record["dropped"] for record in records]),
        "noted": add_counts([record["noted"] for record in records]),
    }


def _finished(output: OutputFile, digest: str, *, overwrite: bool) -> VocabRun | None:
    """Return the listing that is there already, if it is the one asked for."""
    output.check()
    listing = None if overwrite else output.record()
    if listing is None:
        return None
    if listing["digest"] == digest and output.is_whole():
        output.settle()
        return VocabRun(
            path=output.path,
            n_entries=listing["n_entries"],
            account=listing["account"],
            notes=tuple(listing["notes"]),
        )
    if listing["digest"] == digest or not output.path.exists():
        return None  # killed just before it was put in place
    raise ArtifactMismatchError(
        f"{output.path} is a listing with other inputs or settings. Add --overwrite to replace it, "
        "or name another file with -o."
    )

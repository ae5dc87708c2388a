"""The files of a finished audit; the manifest, which names them all, comes last."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from conceptaudit.artifacts import (
    LOCK,
    LOG,
    MANIFEST,
    Json,
    file_digest,
    package_versions,
    write_csv,
    write_json,
    write_npy,
    write_parquet,
)
from conceptaudit.auditing.finishing import AuditRun
from conceptaudit.datasets.base import Shard
from conceptaudit.records import ConceptVocabulary
from conceptaudit.sidecars import read_head

if TYPE_CHECKING:
    from conceptaudit.auditing.run import RunningAudit

CONCEPTS = "concepts.json"


def write_audit(
    run: RunningAudit, made: AuditRun, shards: Sequence[Shard], *, identity: str
) -> None:
    """Write what an audit found.

    Parameters
    ----------
    run : RunningAudit
        The audit, whose shards' results are in its folder already.
    made : AuditRun
        What it found.
    shards : sequence of Shard
        The shards that were counted.
    identity : str
        Digest of the run's inputs and settings.

    Raises
    ------
    DataError
        The folder cannot be written to.
    """
    folder, plan, options = run.folder, run.plan, run.options
    write_parquet(folder / "frequencies.parquet", made.table)
    write_csv(folder / "frequencies.csv", made.table)
    alignment = made.alignment.as_json(options.level)
    if made.misalignment is not None:
        alignment["corrected"] = made.misalignment
    write_json(folder / "alignment.json", alignment)
    write_json(folder / CONCEPTS, listed_concepts(run.vocabulary))
    if plan.image is not None:
        vectors = plan.image.concepts if plan.vectors is None else plan.vectors
        write_npy(folder / "concept_vectors.npy", vectors)
    write_json(
        folder / MANIFEST,
        {
            "kind": "audit",
            "digest": identity,
            "dataset": run.dataset.location,
            "reading": run.dataset.settings,
            "settings": plan.settings,
            "level": options.level,
            "clip": options.clip,
            "threshold": options.threshold,
            "calibration": options.calibration,
            "templates": list(options.templates),
            "account": made.account,
            "sampled": options.sampled(made.alignment.n_samples),
            "notes": list(made.notes),
            "shards": [shard.name for shard in shards],
            "versions": package_versions("spacy", "faiss-cpu", "faiss-gpu", "torch"),
            "files": digests_of_run(folder),
        },
    )


def listed_concepts(vocabulary: ConceptVocabulary) -> list[Json]:
    """Lay a vocabulary out as a concept list that can be read again."""
    return [
        {
            "concept": concept.name,
            "aliases": list(concept.aliases),
            "prompts": list(concept.prompts),
            "synset": concept.synset,
            "dataset": concept.dataset,
            "class_index": concept.class_index,
        }
        for concept in vocabulary
    ]


def digests_of_run(folder: Path) -> dict[str, str]:
    """Return the digest of every file in a run folder, by its path below it.

    The digests of files that a shard's record vouches for are taken from the record, which has
    been checked against them: the terabytes of a large run are not read once more.

    Parameters
    ----------
    folder : Path
        The run folder.
    """
    vouched: dict[str, str] = {}
    names: list[str] = []
    for path in folder.rglob("*"):
        if path.name in (MANIFEST, LOCK, LOG) or not path.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        names.append(name)
        place, _, own = name.rpartition("/")
        if place and own.endswith(".json"):
            data = path.read_bytes()
            vouched[name] = hashlib.sha256(data).hexdigest()
            head = read_head(data)
            if head is not None:
                vouched |= {f"{place}/{n}": digest for n, digest in head.files.items()}
    return {name: vouched.get(name) or file_digest(folder / name) for name in sorted(names)}

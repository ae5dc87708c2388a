"""The audit that a long-tail set is made from: what its run folder says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conceptaudit.artifacts import MANIFEST, Json, digest_of, file_digest, read_json
from conceptaudit.errors import ArtifactMismatchError, DataError
from conceptaudit.frequency.readers import level_of
from conceptaudit.image.vectors import read_concept_vectors
from conceptaudit.reading import read_parquet
from conceptaudit.records import Concept, ConceptFrequencies, ConceptVocabulary, Float32Array

FREQUENCIES = "frequencies.parquet"
CONCEPTS = "concepts.json"
VECTORS = "concept_vectors.npy"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSource:
    """What a finished audit offers."""

    folder: Path  # the run folder
    digest: str  # of the audit and of the files read here
    dataset: str  # what was audited
    vocabulary: ConceptVocabulary  # all its concepts
    frequencies: ConceptFrequencies  # one row per concept, in the vocabulary's order
    # shape (n_concepts, dimension), or None: unit vectors; None where the images were not audited
    vectors: Float32Array | None
    vectors_from: str  # A model's digest, ``"file:DIGEST"``, or empty where it is not known
    clip: str | None  # the open_clip model, as the user named it


def read_audit(folder: str | Path) -> AuditSource:
    """Read the run folder of a finished audit."""
    folder = Path(folder)
    if not (folder / MANIFEST).is_file():
        raise DataError(
            f"{folder} is not a finished audit: it has no {MANIFEST}. Name the folder that "
            "'conceptaudit audit … -o RUN' wrote."
        )
    manifest = read_json(folder / MANIFEST)
    kind = manifest.get("kind") if isinstance(manifest, dict) else None
    if kind != "audit":
        raise DataError(f"{folder} is not the run folder of an audit. Its manifest says {kind!r}.")
    for name in (FREQUENCIES, CONCEPTS):
        if not (folder / name).is_file():
            raise DataError(
                f"The audit in {folder} has no {name}. Run 'conceptaudit audit' again with "
                "--resume to write it."
            )
    recorded = manifest.get("files") if isinstance(manifest.get("files"), dict) else {}
    present = [name for name in (FREQUENCIES, CONCEPTS, VECTORS) if (folder / name).is_file()]
    digests = {name: file_digest(folder / name) for name in present}
    for name, digest in digests.items():
        if recorded.get(name, digest) != digest:
            raise ArtifactMismatchError(
                f"{folder / name} has changed since the audit wrote it. Run the audit again with "
                "--resume, and edit the selection file instead."
            )
    vocabulary = _vocabulary(folder / CONCEPTS)
    clip = manifest.get("clip")
    return AuditSource(
        folder=folder,
        digest=digest_of([manifest.get("digest"), digests]),
        dataset=str(manifest.get("dataset") or ""),
        vocabulary=vocabulary,
        frequencies=_frequencies(
            folder / FREQUENCIES,
            vocabulary,
            str(manifest.get("dataset")),
            level_of(folder / FREQUENCIES),
        ),
        vectors=read_concept_vectors(folder / VECTORS, len(vocabulary))
        if VECTORS in digests
        else None,
        vectors_from=_vectors_from(manifest.get("settings")),
        clip=clip if isinstance(clip, str) and clip else None,
    )


def _vocabulary(path: Path) -> ConceptVocabulary:
    rows = read_json(path)
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and isinstance(row.get("concept"), str) for row in rows
    ):
        raise DataError(f"{path} must be a list of objects with a 'concept'.")
    return ConceptVocabulary(tuple(_concept(path, row) for row in rows))


def _concept(path: Path, row: dict[str, Any]) -> Concept:
    for name in ("aliases", "prompts"):
        texts = row.get(name)
        if texts and not (isinstance(texts, list) and all(isinstance(one, str) for one in texts)):
            raise DataError(
                f"{path} is damaged: {name} of {row['concept']!r} must be a list of texts. Got "
                f"{texts!r} instead."
            )
    return Concept(
        name=row["concept"],
        aliases=tuple(row.get("aliases") or ()),
        prompts=tuple(row.get("prompts") or ()),
        synset=row.get("synset"),
        dataset=row.get("dataset"),
        class_index=row.get("class_index"),
    )


def _frequencies(
    path: Path, vocabulary: ConceptVocabulary, source: str, level: float
) -> ConceptFrequencies:
    table = read_parquet(path)
    frequencies = ConceptFrequencies(table, source=source, level=level)
    if tuple(table["concept"]) != vocabulary.names:
        raise DataError(
            f"{path} and {path.parent / CONCEPTS} list different concepts. "
            "Run the audit again with --resume."
        )
    return frequencies


def _vectors_from(settings: Json) -> str:
    stages = settings if isinstance(settings, list) else []
    for stage in stages:
        if isinstance(stage, dict) and stage.get("stage") == "image":
            return str(stage.get("source") or "")
    return ""

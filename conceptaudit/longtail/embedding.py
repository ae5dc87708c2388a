"""Images and concepts in one space: the audit's own, unless the user names another model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from conceptaudit.artifacts import MANIFEST, read_json
from conceptaudit.datasets.base import EMBEDDING, IMAGE, Dataset
from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError
from conceptaudit.image.clip import ClipModel, find_clip
from conceptaudit.image.concept_vectors import encode_concepts
from conceptaudit.image.embed import check_embedded_with
from conceptaudit.longtail.source import AuditSource
from conceptaudit.options.longtail import LongTailOptions
from conceptaudit.records import Float32Array


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingSpace:
    """Where images and concepts are compared."""

    # shape (n_concepts, dimension): unit vectors of all concepts of the audit
    concepts: Float32Array
    clip: ClipModel | None  # encodes the pool's images; None where the pool has vectors
    part: str  # what is read from the pool: ``"image"`` or ``"embedding"``
    identity: str  # where the vectors come from; part of the set's digest
    name: str | None = None  # the model, as the user named it; None where it is not known


def find_space(
    audit: AuditSource, pool: Dataset, options: LongTailOptions, clip: ClipModel | None = None
) -> EmbeddingSpace:
    """Decide how the pool's images are compared with the audit's concepts.

    The audit's concept vectors are used wherever they belong to the model; other models embed
    the concepts' prompts anew.
    """
    if not pool.provides & {IMAGE, EMBEDDING}:
        raise ConfigError(
            f"The pool {pool.location} ({pool.layout}) holds no images and no image embeddings, "
            f"only {', '.join(sorted(pool.provides)) or 'nothing'}. Download the images of a URL "
            "table with img2dataset first (--download-list writes the file that it reads), and "
            "name its output folder."
        )
    part = IMAGE if IMAGE in pool.provides else EMBEDDING
    named = options.clip is not None or clip is not None
    if part == EMBEDDING and not named and audit.vectors is not None:
        _check_made_with(pool.location, audit)
        return EmbeddingSpace(
            concepts=audit.vectors,
            clip=None,
            part=part,
            identity=audit.vectors_from,
            name=audit.clip,
        )
    name = options.clip or audit.clip
    if clip is None and name is None:
        raise ConfigError(
            f"The audit in {audit.folder} did not look at images with a model, so the 'clip' "
            "parameter must name one (--clip, for instance ViT-B-32/laion2b_s34b_b79k)."
        )
    model = clip if clip is not None else find_clip(str(name), device=options.device)
    if part == EMBEDDING:
        check_embedded_with(pool.location, model)
    concepts = _concepts(audit, model, options, named=named)
    return EmbeddingSpace(
        concepts=concepts,
        clip=model if part == IMAGE else None,
        part=part,
        identity=model.digest,
        name=model.name,
    )


def _check_made_with(location: str, audit: AuditSource) -> None:
    """Refuse embeddings of ours that another model made than the audit's concept vectors."""
    path = Path(location) / MANIFEST
    manifest = read_json(path) if path.is_file() else None
    made_by = manifest.get("model") if isinstance(manifest, dict) else None
    known = bool(audit.vectors_from) and not audit.vectors_from.startswith("file:")
    if known and isinstance(made_by, str) and made_by != audit.vectors_from:
        raise ArtifactMismatchError(
            f"The embeddings in {location} were not made with the model of the audit in "
            f"{audit.folder} ({audit.clip}): their similarities mean nothing. Embed the images "
            "with that model, or name the embeddings' model with --clip."
        )


def _concepts(
    audit: AuditSource, model: ClipModel, options: LongTailOptions, *, named: bool
) -> Float32Array:
    if audit.vectors is not None:
        from_file = audit.vectors_from.startswith("file:")
        if from_file and audit.vectors.shape[1] != model.dimension:
            raise DataError(
                f"{model.name} gives embeddings of dimension {model.dimension}, but the audit's "
                f"concept vectors have {audit.vectors.shape[1]}. Name the model that they were "
                "made with."
            )
        if from_file or audit.vectors_from == model.digest:
            return audit.vectors
        if not named:
            raise ArtifactMismatchError(
                f"The weights of {model.name} are not those that the audit in {audit.folder} "
                "used. Name the model with --clip to embed the concepts anew."
            )
    return encode_concepts(audit.vocabulary, model, options.templates)

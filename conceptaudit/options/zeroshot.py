"""Options of an evaluation and of a retrieval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from conceptaudit.options import shared
from conceptaudit.options.fields import check_options, documented, option, optional

if TYPE_CHECKING:
    from conceptaudit.records import ConceptVocabulary

RECALL_AT = (1, 5, 10)


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """Options of `conceptaudit.evaluate`."""

    pretraining: str | None = shared.pretraining()
    embeddings: Sequence[str | Path] = option(
        (),
        "Folder of `conceptaudit embed` or clip-retrieval with the images' embeddings, joined by "
        "key: no image is opened. One per --clip, in the same order.",
    )
    save_embeddings: str | Path | None = optional(
        "Keep the images' embeddings here, a folder per model, and use those that are there "
        "already.",
    )
    device: str = shared.device()
    level: float = shared.level()

    def __post_init__(self) -> None:
        check_options(self)


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalOptions:
    """Options of `conceptaudit.evaluate_retrieval`."""

    name: str = option("", "Name of the set in the results; its folder's by default.")
    concepts: ConceptVocabulary | None = optional(
        "Recall is also given for the queries that name each of these.", hidden=True
    )
    recall_at: Sequence[int] = option(RECALL_AT, "k of recall@k; repeat. 1, 5 and 10 by default.")
    pretraining: str | None = shared.pretraining()
    spacy_model: str = shared.spacy_model(help="spaCy pipeline that finds concepts in captions.")
    device: str = shared.device()

"""What an evaluation and a retrieval can be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conceptaudit.records import ConceptVocabulary
from conceptaudit.text.pipeline import BUNDLED

RECALL_AT = (1, 5, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """Options of `conceptaudit.evaluate`.

    Parameters
    ----------
    device : str, default "auto"
        Where models run: ``"auto"``, ``"cpu"`` or ``"cuda:0"``.
    pretraining : str, optional
        Name of the pretraining set in the results; the weights' name by default.
    level : float, default 0.9
        Coverage of the intervals, in (0, 1).
    embeddings : sequence of str or Path
        Embeddings of the set's images, a folder per model in the models' order: of `embed`, or
        of clip-retrieval. A set that is itself such a folder needs none.
    save_embeddings : str or Path, optional
        Folder in which the pictures' embeddings are made, or taken from where they are there
        already: a folder per model, for the next evaluation.
    """

    device: str = "auto"
    pretraining: str | None = None
    level: float = 0.9
    embeddings: Sequence[str | Path] = ()
    save_embeddings: str | Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalOptions:
    """Options of `conceptaudit.evaluate_retrieval`.

    Parameters
    ----------
    name : str
        Of the dataset in the results.
    concepts : ConceptVocabulary, optional
        Recall is also given for the queries that name each of these.
    spacy_model : str
        Tells which concepts a caption names.
    recall_at : sequence of int
    device, pretraining
        As in `EvaluationOptions`.
    """

    name: str = ""
    concepts: ConceptVocabulary | None = None
    spacy_model: str = BUNDLED
    recall_at: Sequence[int] = RECALL_AT
    device: str = "auto"
    pretraining: str | None = None

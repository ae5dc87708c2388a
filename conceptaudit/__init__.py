"""Count concepts in image-caption data, predict zero-shot accuracy, build long-tail test sets.

Every name below is loaded on first use: importing the package loads no torch, spaCy or FAISS.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conceptaudit.auditing import (
        AuditOptions,
        AuditRun,
        Tagger,
        audit,
        calibrate,
        correct,
        draw_sample,
    )
    from conceptaudit.curves import Curve, fit_curve, plan, predict
    from conceptaudit.datasets import open_dataset
    from conceptaudit.errors import (
        ArtifactMismatchError,
        ConceptAuditError,
        ConfigError,
        DataError,
        FitError,
        MissingDependencyError,
    )
    from conceptaudit.frequency.comparing import compare_audits
    from conceptaudit.frequency.readers import read_frequencies
    from conceptaudit.image.index import VectorIndex, build_index, open_index
    from conceptaudit.longtail import LongTailOptions, LongTailSet, build_long_tail
    from conceptaudit.options.zeroshot import EvaluationOptions, RetrievalOptions
    from conceptaudit.records import (
        Concept,
        ConceptAccuracies,
        ConceptFrequencies,
        ConceptVocabulary,
    )
    from conceptaudit.report import write_report
    from conceptaudit.validation import validate
    from conceptaudit.vocabulary import read_concepts
    from conceptaudit.zeroshot.evaluate import evaluate
    from conceptaudit.zeroshot.readers import read_accuracies
    from conceptaudit.zeroshot.retrieve import evaluate_retrieval
    from conceptaudit.zeroshot.sets import open_evaluation_set

_HOMES = {
    "ArtifactMismatchError": "errors",
    "AuditOptions": "options.audit",
    "AuditRun": "auditing",
    "Concept": "records",
    "ConceptAccuracies": "records",
    "ConceptAuditError": "errors",
    "ConceptFrequencies": "records",
    "ConceptVocabulary": "records",
    "ConfigError": "errors",
    "Curve": "curves",
    "DataError": "errors",
    "EvaluationOptions": "options.zeroshot",
    "FitError": "errors",
    "LongTailOptions": "options.longtail",
    "LongTailSet": "longtail",
    "MissingDependencyError": "errors",
    "RetrievalOptions": "options.zeroshot",
    "Tagger": "auditing",
    "VectorIndex": "image.index",
    "audit": "auditing",
    "build_index": "image.index",
    "build_long_tail": "longtail",
    "calibrate": "auditing",
    "compare_audits": "frequency.comparing",
    "correct": "auditing",
    "draw_sample": "auditing",
    "evaluate": "zeroshot.evaluate",
    "evaluate_retrieval": "zeroshot.retrieve",
    "fit_curve": "curves",
    "open_dataset": "datasets",
    "open_evaluation_set": "zeroshot.sets",
    "open_index": "image.index",
    "plan": "curves",
    "predict": "curves",
    "read_accuracies": "zeroshot.readers",
    "read_concepts": "vocabulary",
    "read_frequencies": "frequency.readers",
    "validate": "validation",
    "write_report": "report",
}

__all__ = [
    "ArtifactMismatchError",
    "AuditOptions",
    "AuditRun",
    "Concept",
    "ConceptAccuracies",
    "ConceptAuditError",
    "ConceptFrequencies",
    "ConceptVocabulary",
    "ConfigError",
    "Curve",
    "DataError",
    "EvaluationOptions",
    "FitError",
    "LongTailOptions",
    "LongTailSet",
    "MissingDependencyError",
    "RetrievalOptions",
    "Tagger",
    "VectorIndex",
    "audit",
    "build_index",
    "build_long_tail",
    "calibrate",
    "compare_audits",
    "correct",
    "draw_sample",
    "evaluate",
    "evaluate_retrieval",
    "fit_curve",
    "open_dataset",
    "open_evaluation_set",
    "open_index",
    "plan",
    "predict",
    "read_accuracies",
    "read_concepts",
    "read_frequencies",
    "validate",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'conceptaudit' has no attribute {name!r}")
    value = getattr(import_module(f"conceptaudit.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

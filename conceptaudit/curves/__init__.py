"""Accuracy against concept frequency: join, fit, predict.

This is the only place where a statistic of accuracy against frequency is computed.
"""

from conceptaudit.curves.anchors import Anchors
from conceptaudit.curves.binned import BinnedFit
from conceptaudit.curves.comparison import compare_families
from conceptaudit.curves.controls import similar_to_test, with_law, without_samples
from conceptaudit.curves.fitting import fit_curve
from conceptaudit.curves.foretold import Foretold, foretell
from conceptaudit.curves.joining import Joined, join, normalise_name
from conceptaudit.curves.planning import Plan, plan
from conceptaudit.curves.predicting import predict
from conceptaudit.curves.records import (
    CountError,
    Curve,
    DatasetEffects,
    DatasetSlope,
    LineFit,
    ModelFit,
    Usage,
)
from conceptaudit.curves.reference import Reference, reference_curve
from conceptaudit.curves.splits import split_by_frequency
from conceptaudit.curves.transfer import transfer

__all__ = [
    "Anchors",
    "BinnedFit",
    "CountError",
    "Curve",
    "DatasetEffects",
    "DatasetSlope",
    "Foretold",
    "Joined",
    "LineFit",
    "ModelFit",
    "Plan",
    "Reference",
    "Usage",
    "compare_families",
    "fit_curve",
    "foretell",
    "join",
    "normalise_name",
    "plan",
    "predict",
    "reference_curve",
    "similar_to_test",
    "split_by_frequency",
    "transfer",
    "with_law",
    "without_samples",
]

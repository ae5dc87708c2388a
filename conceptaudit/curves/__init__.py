"""Accuracy against concept frequency: join, fit, predict.

This is the only place where a statistic of accuracy against frequency is computed.
"""

from conceptaudit.curves.binned import BinnedFit
from conceptaudit.curves.controls import resample_to_power_law, similar_to_test, without_samples
from conceptaudit.curves.cross_validation import compare_families
from conceptaudit.curves.curve import Curve
from conceptaudit.curves.fitting import fit_curve
from conceptaudit.curves.joining import Joined, join
from conceptaudit.curves.known_results import Anchors
from conceptaudit.curves.planning import Plan, plan
from conceptaudit.curves.predicting import predict
from conceptaudit.curves.prediction_check import PredictionCheck, check_predictions
from conceptaudit.curves.records import (
    CountError,
    DatasetEffects,
    DatasetSlope,
    LineFit,
    ModelFit,
    Usage,
)
from conceptaudit.curves.reference import Reference, reference_curve
from conceptaudit.curves.transfer import transfer
from conceptaudit.names import normalise_name

__all__ = [
    "Anchors",
    "BinnedFit",
    "CountError",
    "Curve",
    "DatasetEffects",
    "DatasetSlope",
    "Joined",
    "LineFit",
    "ModelFit",
    "Plan",
    "PredictionCheck",
    "Reference",
    "Usage",
    "check_predictions",
    "compare_families",
    "fit_curve",
    "join",
    "normalise_name",
    "plan",
    "predict",
    "reference_curve",
    "resample_to_power_law",
    "similar_to_test",
    "transfer",
    "without_samples",
]

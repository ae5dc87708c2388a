"""Accuracy against concept frequency: join, fit, predict.

This is the only place where a statistic of accuracy against frequency is computed.
"""

from conceptaudit.curves.controls import resample_to_power_law, similar_to_test, without_samples
from conceptaudit.curves.cross_validation import compare_families
from conceptaudit.curves.curve import Curve
from conceptaudit.curves.fitting import fit_curve
from conceptaudit.curves.joining import join
from conceptaudit.curves.known_results import Anchors
from conceptaudit.curves.planning import Plan, plan
from conceptaudit.curves.predicting import predict
from conceptaudit.curves.prediction_check import PredictionCheck, check_predictions
from conceptaudit.curves.records import LineFit, ModelFit
from conceptaudit.curves.reference import reference_curve
from conceptaudit.curves.transfer import transfer

__all__ = [
    "Anchors",
    "Curve",
    "LineFit",
    "ModelFit",
    "Plan",
    "PredictionCheck",
    "check_predictions",
    "compare_families",
    "fit_curve",
    "join",
    "plan",
    "predict",
    "reference_curve",
    "resample_to_power_law",
    "similar_to_test",
    "transfer",
    "without_samples",
]

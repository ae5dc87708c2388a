"""Accuracy against concept frequency: join, fit, predict.

This is the only place where a statistic of accuracy against frequency is computed.
"""

from conceptaudit.curves.binned import BinnedFit
from conceptaudit.curves.fitting import fit_curve
from conceptaudit.curves.joining import Joined, join, normalise_name
from conceptaudit.curves.predicting import predict
from conceptaudit.curves.records import (
    Curve,
    DatasetEffects,
    DatasetSlope,
    LineFit,
    ModelFit,
    Usage,
)

__all__ = [
    "BinnedFit",
    "Curve",
    "DatasetEffects",
    "DatasetSlope",
    "Joined",
    "LineFit",
    "ModelFit",
    "Usage",
    "fit_curve",
    "join",
    "normalise_name",
    "predict",
]

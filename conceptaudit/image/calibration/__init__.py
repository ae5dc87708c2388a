"""Thresholds per concept for image tags, learned from captions, labels or scores."""

from conceptaudit.image.calibration.histograms import (
    Moments,
    Scale,
    ScoreHistograms,
    count_scores,
)
from conceptaudit.image.calibration.labels import Labels, check_labelled, read_labels
from conceptaudit.image.calibration.learning import enough_captions, learn
from conceptaudit.image.calibration.record import Calibration, is_calibration
from conceptaudit.image.calibration.signal import Repeats, Signal, measure_signal
from conceptaudit.image.concept_vectors import Background, contrast_vectors

__all__ = [
    "Background",
    "Calibration",
    "Labels",
    "Moments",
    "Repeats",
    "Scale",
    "ScoreHistograms",
    "Signal",
    "check_labelled",
    "contrast_vectors",
    "count_scores",
    "enough_captions",
    "is_calibration",
    "learn",
    "measure_signal",
    "read_labels",
]

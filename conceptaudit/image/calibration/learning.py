"""Histograms to a calibration."""

from __future__ import annotations

import numpy as np

from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.calibration.contrast import contrast_vectors, vectors_digest
from conceptaudit.image.calibration.estimates import (
    choose_cuts,
    count_shown,
    draw_shown,
    rates_at,
)
from conceptaudit.image.calibration.histograms import FloatArray, Scale, ScoreHistograms
from conceptaudit.image.calibration.labels import shift_to
from conceptaudit.image.calibration.model import Fitted, fit_model
from conceptaudit.image.calibration.nulls import fit_nulls
from conceptaudit.image.calibration.record import Calibration, rounded
from conceptaudit.records import ConceptVocabulary, Float32Array

RATE_DRAWS = 32
LEAST_IMAGES = 100
"""Images below which nothing is calibrated."""

LEAST_MENTIONS = 50
"""Captions that name a concept, over all concepts, below which captions cannot teach."""


def enough_captions(histograms: ScoreHistograms) -> bool:
    """Say whether captions name enough to calibrate from."""
    n_images = int(histograms.total.sum(axis=1).max(initial=0))
    return n_images >= LEAST_IMAGES and int(histograms.positive.sum()) >= LEAST_MENTIONS


def learn(
    method: str,
    histograms: ScoreHistograms,
    scale: Scale,
    *,
    vocabulary: ConceptVocabulary,
    vectors: Float32Array,
    labelled: ScoreHistograms | None = None,
    rule: str = "count",
    seed: int = 0,
) -> Calibration:
    """Learn thresholds and error rates.

    Parameters
    ----------
    method : {"captions", "labels", "scores"}
        From captions that name concepts; from labelled images; or from scores alone, each
        concept's bulk of scores being taken for images that do not show it.
    histograms : ScoreHistograms
        Of the images to be audited or a sample of them, by captions (all negative where there
        are none).
    scale : Scale
        That made them.
    vocabulary : ConceptVocabulary
    vectors : numpy.ndarray of float32, shape (n_concepts, dimension)
        Unit vectors of the concepts, before contrast.
    labelled : ScoreHistograms, optional
        Of labelled images, on the same scale; for method ``"labels"``.
    rule : {"count", "f1"}, default "count"
        See `choose_cuts`.
    seed : int, default 0
        Of the draws that make intervals.

    Raises
    ------
    ConfigError
        The method is not known, or is ``"labels"`` and there are none.
    DataError
        There is too little to learn from.
    """
    if not bool(np.isfinite(scale.means).all() & np.isfinite(scale.spreads).all()):
        raise DataError("Image or concept vectors hold NaN or infinity; embed the data again.")
    evidence = histograms.positive.sum(axis=1)
    notes: list[str] = []
    if method == "captions":
        _check_captions(histograms)
        fitted = fit_model(histograms)
    elif method == "labels":
        if labelled is None or not labelled.positive.any():
            raise ConfigError("Calibrating from labels needs images known to show a concept.")
        if not labelled.negative.any():
            raise DataError(
                "Every label is positive. Label images that do not show a concept as well, or "
                "calibrate from captions."
            )
        evidence = labelled.positive.sum(axis=1)
        fitted = shift_to(fit_model(labelled, noisy=False), labelled, histograms)
    elif method == "scores":
        fitted = fit_nulls(histograms)
        notes.append(
            "Learned from scores alone: what stands out from a concept's bulk of scores is taken "
            "for the concept, look-alikes too. Counts are rough."
        )
    else:
        raise ConfigError(
            f"The 'method' parameter must be 'captions', 'labels' or 'scores'. Got {method!r} "
            "instead."
        )
    unknown = int((evidence == 0).sum())
    if unknown and method != "scores":
        notes.append(f"{unknown:,} concepts had no example of their own; others speak for them.")
    cuts = choose_cuts(fitted, histograms, rule=rule)
    shown, drawn = count_shown(fitted, histograms), draw_shown(fitted, histograms, seed=seed)
    n_images = np.maximum(histograms.total.sum(axis=1), 1)
    low, high = np.quantile(drawn.image, [0.05, 0.95], axis=0)
    tagging = contrast_vectors(vectors)
    return rounded(
        Calibration(
            method=method,
            rule=rule,
            concepts=vocabulary.names,
            vocabulary=vocabulary.digest,
            vectors=vectors_digest(vectors),
            dimension=tagging.shape[1],
            n_images=int(n_images.max()),
            evidence=evidence,
            thresholds=np.clip(scale.similarity(cuts.thresholds), -1.0, 1.0),
            precision=cuts.precision,
            prevalence=shown.image / n_images,
            prevalence_low=np.minimum(low, shown.image) / n_images,
            prevalence_high=np.maximum(high, shown.image) / n_images,
            rates=_rates(fitted, histograms, cuts.thresholds, seed),
            notes=tuple(notes),
        )
    )


def _check_captions(histograms: ScoreHistograms) -> None:
    if not enough_captions(histograms):
        raise DataError(
            f"Captions teach from {LEAST_IMAGES} images and {LEAST_MENTIONS} mentions of concepts "
            f"on. Got {int(histograms.total.sum(axis=1).max(initial=0)):,} images and "
            f"{int(histograms.positive.sum()):,} mentions instead: calibrate on more data, or from "
            "labels."
        )


def _rates(
    fitted: Fitted, histograms: ScoreHistograms, thresholds: FloatArray, seed: int
) -> dict[str, FloatArray]:
    """Compute the error rates at the best estimate and at draws around it."""
    rng = np.random.default_rng([seed, 1])
    columns: dict[str, list[FloatArray]] = {name: [] for name in ("recall", "false_alarm")}
    if fitted.noisy:
        columns |= {"caption_recall": [], "caption_mistake": []}
    for draw in range(RATE_DRAWS + 1):
        parameters = None if draw == 0 else fitted.draws(rng)
        recall, false_alarm = rates_at(fitted, histograms, thresholds, parameters)
        if draw:
            # which few images show a rare concept is chance too
            shown = count_shown(fitted, histograms, parameters).image
            recall = rng.beta(recall * shown + 0.5, (1.0 - recall) * shown + 0.5)
        columns["recall"].append(recall)
        columns["false_alarm"].append(false_alarm)
        if fitted.noisy:
            named, mistaken = fitted.caption_rates(parameters)
            columns["caption_recall"].append(named[:, 0])
            columns["caption_mistake"].append(mistaken[:, 0])
    return {name: np.stack(values, axis=1) for name, values in columns.items()}

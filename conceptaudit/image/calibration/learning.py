"""Histograms to a calibration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.calibration.contrast import Background, vectors_digest
from conceptaudit.image.calibration.estimates import (
    choose_cuts,
    count_shown,
    draw_shown,
    rates_at,
)
from conceptaudit.image.calibration.histograms import FloatArray, Scale, ScoreHistograms
from conceptaudit.image.calibration.labels import shift_to
from conceptaudit.image.calibration.model import Fitted, Prior, fit_model
from conceptaudit.image.calibration.nulls import fit_nulls
from conceptaudit.image.calibration.record import Calibration, rounded
from conceptaudit.image.calibration.signal import (
    FEW_MENTIONS,
    IDENTIFIED,
    LEAST_NAMED,
    NO_CAPTIONS,
    NO_SIGNAL,
    Repeats,
    Signal,
    measure_signal,
)
from conceptaudit.records import ConceptVocabulary, Float32Array

RATE_DRAWS = 32
LEAST_IMAGES = 100
"""Images below which nothing is calibrated."""

LEAST_MENTIONS = 50
"""Captions that name a concept, over all concepts, below which captions cannot teach."""

ENOUGH_NOUNS = 20
"""Common nouns, each named often enough, from which what is usual can be learned."""


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
    background: Background | None = None,
    reference: ScoreHistograms | None = None,
    repeats: Repeats | None = None,
    rule: str = "count",
    seed: int = 0,
) -> Calibration:
    """Learn thresholds and error rates, and which concepts they hold for.

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
    background : Background, optional
        What concepts were centred on; the list itself by default.
    reference : ScoreHistograms, optional
        Of the background's nouns, by captions: they tell what is usual, so that no concept's count
        depends on the list. Without a fixed background the list's own concepts do.
    repeats : Repeats, optional
        Of images with several captions.
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
    background = background or Background.of_list(vectors)
    signal = measure_signal(histograms, repeats, reference)
    notes: list[str] = []
    if method == "captions":
        _check_captions(histograms if reference is None else histograms.stacked(reference))
        fitted = fit_model(histograms, prior=_usual(background, reference))
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
    if method != "captions":
        signal = _without_captions(signal, method, evidence)
    cuts = choose_cuts(fitted, histograms, rule=rule)
    shown, drawn = count_shown(fitted, histograms), draw_shown(fitted, histograms, seed=seed)
    n_images = np.maximum(histograms.total.sum(axis=1), 1)
    low, high = np.quantile(drawn.image, [0.05, 0.95], axis=0)
    rates = _rates(fitted, histograms, cuts.thresholds, seed)
    precision_draws = _precision(rates, drawn.image[:RATE_DRAWS], n_images)
    bounds = {"precision": precision_draws, "recall": rates["recall"][:, 1:]}
    known = np.array([reason == IDENTIFIED for reason in signal.reasons])
    return rounded(
        Calibration(
            method=method,
            rule=rule,
            concepts=vocabulary.names,
            vocabulary=vocabulary.digest,
            vectors=vectors_digest(vectors),
            background=background.source,
            centre=background.centre.astype(np.float64),
            n_images=int(n_images.max()),
            evidence=evidence,
            thresholds=np.clip(scale.similarity(cuts.thresholds), -1.0, 1.0),
            precision=np.where(known, cuts.precision, np.nan),
            prevalence=shown.image / n_images,
            prevalence_low=np.minimum(low, shown.image) / n_images,
            prevalence_high=np.maximum(high, shown.image) / n_images,
            **{
                f"{name}_{end}": np.where(known, np.nanquantile(values, tail, axis=1), np.nan)
                for name, values in bounds.items()
                for end, tail in (("low", 0.05), ("high", 0.95))
            },
            auc=signal.auc,
            auc_low=signal.auc_low,
            auc_high=signal.auc_high,
            overall_auc=signal.overall,
            reasons=signal.reasons,
            upper=signal.upper / n_images,
            rates=rates,
            notes=tuple(notes),
        )
    )


def _usual(background: Background, reference: ScoreHistograms | None) -> Prior | None:
    """Learn what is usual from the background's nouns; None learns it from the list itself."""
    if not background.fixed:
        return None
    if reference is not None:
        telling = int((reference.positive.sum(axis=1) >= LEAST_NAMED).sum())
        if telling >= ENOUGH_NOUNS:
            return fit_model(reference).prior
    return Prior.usual()


def _without_captions(signal: Signal, method: str, evidence: np.ndarray) -> Signal:
    """Say which counts labels identify; scores alone identify none."""
    if method == "scores":
        reasons = tuple(reason if reason == NO_SIGNAL else NO_CAPTIONS for reason in signal.reasons)
    else:
        reasons = tuple(FEW_MENTIONS if n < LEAST_NAMED else IDENTIFIED for n in evidence)
    return replace(signal, reasons=reasons, upper=np.full(len(reasons), np.nan))


def _precision(rates: dict[str, FloatArray], shown: FloatArray, n_images: np.ndarray) -> FloatArray:
    """Draw the precision of tags from their rates, shape (n_concepts, n_draws)."""
    right = rates["recall"][:, 1:] * shown.T
    wrong = rates["false_alarm"][:, 1:] * np.maximum(n_images[:, None] - shown.T, 0.0)
    return np.asarray(right / np.maximum(right + wrong, 1e-12))


def _check_captions(histograms: ScoreHistograms) -> None:
    if not enough_captions(histograms):
        raise DataError(
            f"Captions teach from {LEAST_IMAGES} images and {LEAST_MENTIONS} mentions of concepts "
            f"on. Got {quantity(int(histograms.total.sum(axis=1).max(initial=0)), 'image')} and "
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

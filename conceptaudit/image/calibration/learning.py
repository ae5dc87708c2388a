"""Histograms to a calibration: how many images show a concept, where to cut, how tags err."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.calibration.histograms import (
    HIGHEST,
    LOWEST,
    N_BINS,
    WIDTH,
    FloatArray,
    Scale,
    ScoreHistograms,
)
from conceptaudit.image.calibration.labels import shift_to
from conceptaudit.image.calibration.model import Fitted, Prior, fit_model, fit_nulls
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
from conceptaudit.image.concept_vectors import Background, vectors_digest
from conceptaudit.records import ConceptVocabulary, Float32Array

RULES = ("count", "f1")
"""``"count"``: as many images are tagged as show the concept, so precision equals recall;
``"f1"``: best F1."""

DRAWS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Expected numbers of images that show each concept."""

    # shape (n_concepts,): all images, and those whose caption names the concept
    image: FloatArray
    joint: FloatArray


def posterior(
    fitted: Fitted, parameters: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Compute how likely an image shows the concept where its caption names it, and elsewhere.

    By score: both have shape (n_concepts, N_BINS).
    """
    shown = fitted.shown(parameters)
    recall, mistake = fitted.caption_rates(parameters)
    if not fitted.noisy:
        return shown, shown
    named = np.clip(mistake + (recall - mistake) * shown, 1e-300, 1.0 - 1e-12)
    return recall * shown / named, (1.0 - recall) * shown / (1.0 - named)


def count_shown(
    fitted: Fitted, histograms: ScoreHistograms, parameters: FloatArray | None = None
) -> Shown:
    """Estimate how many images show each concept."""
    named, unnamed = posterior(fitted, parameters)
    joint = (histograms.positive * named).sum(axis=1)
    return Shown(image=joint + (histograms.negative * unnamed).sum(axis=1), joint=joint)


def draw_shown(
    fitted: Fitted, histograms: ScoreHistograms, *, n_draws: int = DRAWS, seed: int = 0
) -> Shown:
    """Draw numbers of images that show each concept: what the parameters leave open, and chance.

    Each draw takes other parameters, then decides every image by its probability (by a normal
    law with the same mean and variance).
    """
    rng = np.random.default_rng(seed)
    image, joint = [], []
    for _ in range(n_draws):
        named, unnamed = posterior(fitted, fitted.draws(rng))
        sums = []
        for counts, shares in ((histograms.positive, named), (histograms.negative, unnamed)):
            mean = (counts * shares).sum(axis=1)
            spread = np.sqrt((counts * shares * (1.0 - shares)).sum(axis=1))
            drawn = mean + spread * rng.standard_normal(len(mean))
            sums.append(np.clip(drawn, 0.0, counts.sum(axis=1)))
        joint.append(sums[0])
        image.append(sums[0] + sums[1])
    return Shown(image=np.stack(image), joint=np.stack(joint))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cuts:
    """A threshold per concept and what is to be expected of it."""

    thresholds: FloatArray  # shape (n_concepts,): standardised scores
    # shape (n_concepts,): in [0, 1]; NaN where nothing is tagged, or nothing expected
    precision: FloatArray
    recall: FloatArray


def choose_cuts(fitted: Fitted, histograms: ScoreHistograms, *, rule: str = "count") -> Cuts:
    """Choose a threshold per concept."""
    if rule not in RULES:
        raise ConfigError(
            f"The 'rule' parameter must be one of {list(RULES)}. Got {rule!r} instead."
        )
    named, unnamed = posterior(fitted)
    right = histograms.positive * named + histograms.negative * unnamed
    tagged_from = _from_above(histograms.total)
    right_from = _from_above(right)
    expected = right_from[:, 0]
    if rule == "count":
        edges = _edges_at(tagged_from, expected)
    else:
        f1 = 2.0 * right_from / np.maximum(tagged_from + expected[:, None], 1e-12)
        # where hardly anything is shown, no threshold has an F1 to speak of
        edges = np.where(
            expected < 1.0, _edges_at(tagged_from, expected), np.argmax(f1, axis=1)
        ).astype(np.float64)
    tagged, hit = _at(tagged_from, edges), _at(right_from, edges)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(tagged > 0.5, hit / tagged, np.nan)
        recall = np.where(expected > 0.5, hit / expected, np.nan)
    return Cuts(
        thresholds=np.minimum(LOWEST + WIDTH * edges, HIGHEST),
        precision=np.clip(precision, 0.0, 1.0),
        recall=np.clip(recall, 0.0, 1.0),
    )


def rates_at(
    fitted: Fitted,
    histograms: ScoreHistograms,
    thresholds: FloatArray,
    parameters: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Return the shares of shown and of other images at or above thresholds (recall, false alarm).

    0 where there is no such image.
    """
    named, unnamed = posterior(fitted, parameters)
    right = histograms.positive * named + histograms.negative * unnamed
    wrong = histograms.total - right
    edges = (thresholds - LOWEST) / WIDTH
    shares = []
    for part in (right, wrong):
        above = _from_above(part)
        shares.append(np.clip(_at(above, edges) / np.maximum(above[:, 0], 1e-12), 0.0, 1.0))
    return shares[0], shares[1]


def _from_above(counts: np.ndarray) -> FloatArray:
    """Count what lies at or above every bin's lower edge, shape (n_concepts, N_BINS + 1)."""
    above = np.cumsum(counts[:, ::-1].astype(np.float64), axis=1)[:, ::-1]
    return np.hstack([above, np.zeros((len(above), 1))])


def _edges_at(above: FloatArray, wanted: FloatArray) -> FloatArray:
    """Find where (in bins from the lowest edge) just `wanted` images lie above, linearly."""
    upper = (above > wanted[:, None]).sum(axis=1).clip(1, N_BINS)
    rows = np.arange(len(above))
    more, less = above[rows, upper - 1], above[rows, upper]
    inside = np.where(more > less, (more - wanted) / np.maximum(more - less, 1e-12), 0.0)
    return np.asarray(upper - 1 + np.clip(inside, 0.0, 1.0), dtype=np.float64)


def _at(above: FloatArray, edges: FloatArray) -> FloatArray:
    """Read a table of `_from_above` between edges, linearly."""
    edges = np.clip(edges, 0.0, N_BINS)
    low = np.minimum(edges.astype(np.int64), N_BINS - 1)
    part = edges - low
    rows = np.arange(len(above))
    return np.asarray(above[rows, low] * (1.0 - part) + above[rows, low + 1] * part)


ROUGH = (
    "Learned from scores alone: what stands out from a concept's bulk of scores is taken for the "
    "concept, look-alikes too. Counts are rough."
)

RATE_DRAWS = 32
LEAST_IMAGES = 100  # images below which nothing is calibrated

LEAST_MENTIONS = 50
"""Captions that name a concept, over all concepts, below which captions cannot teach."""

ENOUGH_NOUNS = 20  # common nouns, each named often enough, from which what is usual can be learned


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

    Histograms are of the images to be audited or a sample of them, by captions (all negative where
    there are none); `labelled` of labelled images, on the same scale; `reference` of the
    background's nouns, by captions: they tell what is usual, so that no concept's count depends on
    the list. Vectors, shape (n_concepts, dimension), are of unit length, before contrast.
    """
    if not bool(np.isfinite(scale.means).all() & np.isfinite(scale.spreads).all()):
        raise DataError("Image or concept vectors hold NaN or infinity; embed the data again.")
    evidence = histograms.positive.sum(axis=1)
    background = background or Background.of_list(vectors)
    signal = measure_signal(histograms, repeats, reference)
    fitted = _fitted(method, histograms, labelled, background, reference)
    if method == "labels" and labelled is not None:
        evidence = labelled.positive.sum(axis=1)
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
            notes=(ROUGH,) if method == "scores" else (),
        )
    )


def _fitted(
    method: str,
    histograms: ScoreHistograms,
    labelled: ScoreHistograms | None,
    background: Background,
    reference: ScoreHistograms | None,
) -> Fitted:
    """Fit the model to captions, to labels (then carried over to the data), or to scores alone."""
    if method == "captions":
        _check_captions(histograms if reference is None else histograms.stacked(reference))
        return fit_model(histograms, prior=_usual(background, reference))
    if method == "scores":
        return fit_nulls(histograms)
    if method != "labels":
        raise ConfigError(
            f"The 'method' parameter must be 'captions', 'labels' or 'scores'. Got {method!r} "
            "instead."
        )
    if labelled is None or not labelled.positive.any():
        raise ConfigError("Calibrating from labels needs images known to show a concept.")
    if not labelled.negative.any():
        raise DataError(
            "Every label is positive. Label images that do not show a concept as well, or "
            "calibrate from captions."
        )
    return shift_to(fit_model(labelled, noisy=False), labelled, histograms)


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

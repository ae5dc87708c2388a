"""How captions and scores speak of what an image shows, concept by concept, and the fit of it.

An image with standardised score s shows the concept with probability

    q(s) = unseen + (1 - unseen) · logistic(intercept + slope · s),

where `unseen` is for images in which the model does not see it (a small thing among larger ones).
Its caption names the concept with probability `recall` where it is shown, and
by mistake elsewhere. So a caption names it with probability

    p(s) = mistake + (recall - mistake) · q(s),

logistic regression with noisy labels. Slope, recall and
the share of mistaken mentions are drawn towards what other concepts have, the more the fewer
images speak for the concept itself (empirical Bayes). Labels are captions that never err.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from conceptaudit.image.calibration.histograms import (
    WIDTH,
    FloatArray,
    ScoreHistograms,
    bin_centres,
)

INTERCEPT, SLOPE, RECALL, MISTAKE, UNSEEN = range(5)
"""Columns of a parameter table: intercept, log slope, logit of the caption's recall, logit of
its mistaken mentions as a share of all mentions, and logit of the floor `unseen` over the share of
captions that name the concept."""

INNER_STEPS, OUTER_STEPS = 6, 25
INTERCEPT_SPREAD = 3.0
"""Standard deviation of the intercept's prior around the share of captions: nearly no opinion."""

WIDEST = (np.inf, 1.0, 1.0, 0.5, 2.0)
"""Largest spread among concepts that is learned. Mistaken mentions and shown things that the model
does not see look alike (a caption that names what has a low score); only that captions' mistakes
are much the same for all concepts tells them apart."""

UNKNOWN = (0.0, 0.0, 0.0, 0.7, 1.0)
"""Standard deviation of what is usual where data do not tell it. Captions that name what has a low
score are mistakes or name things that the model does not see; a common level of both (one mention
in eight mistaken, 6 to 22 % within one standard deviation) is assumed, not learned, and every
interval carries how little is known of it."""

SLOPE_FLOOR, SLOPE_CEILING = np.log(0.05), np.log(20.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """What is usual among concepts; normal in the transformed parameters."""

    # shape (5,): in the columns named above (the intercept's place is unused)
    means: FloatArray
    spreads: FloatArray
    # change of logit mistake per unit of log mentions: rare words may be mistaken more often
    trend: float = 0.0

    @classmethod
    def vague(cls) -> Prior:
        """Start: scores tell, captions mention most of what is shown and rarely anything else."""
        return cls(
            means=np.array([0.0, 0.3, 1.0, -2.0, -4.0]),
            spreads=np.array([3.0, 0.7, 0.8, 0.5, 2.0]),
        )

    @classmethod
    def usual(cls) -> Prior:
        """Return what is taken to be usual where no fixed set of concepts can tell.

        As `vague`, but captions name seven of eight things that are shown: a count is given only
        where captions are known to name most of them (`signal.LEAST_RECALL`), and there this is
        what Flickr8k's captions do.
        """
        means = cls.vague().means.copy()
        means[RECALL] = 2.0
        return cls(means=means, spreads=cls.vague().spreads)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """Parameters of all concepts with their uncertainty."""

    parameters: FloatArray  # shape (n_concepts, 5): in the columns named above
    covariances: FloatArray  # shape (n_concepts, 5, 5): of the normal approximation around them
    named_share: FloatArray  # shape (n_concepts,): share of captions that name the concept
    prior: Prior
    noisy: bool  # False where labels, which never err, stood in for captions

    def shown(self, parameters: FloatArray | None = None) -> FloatArray:
        """Compute q(s), the probability that an image shows the concept, (n_concepts, N_BINS)."""
        return _shown(self.parameters if parameters is None else parameters, self.named_share)

    def caption_rates(self, parameters: FloatArray | None = None) -> tuple[FloatArray, FloatArray]:
        """Return recall and mistake rate of captions, each of shape (n_concepts, 1)."""
        return _rates(
            self.parameters if parameters is None else parameters, self.named_share, self.noisy
        )

    def draws(self, rng: np.random.Generator) -> FloatArray:
        """Draw parameters of all concepts once from their uncertainty, shape (n_concepts, 5).

        What is usual is drawn first and moves all concepts together, each as far as its own
        images leave it free; then every concept is drawn around that.
        """
        spreads = self.prior.spreads
        variances = np.diagonal(self.covariances, axis1=1, axis2=2)
        telling = np.clip(1.0 - variances / spreads**2, 0.0, 1.0).sum(axis=0)
        common = np.hypot(UNKNOWN, spreads / np.sqrt(telling + 1.0))
        shift = rng.standard_normal(len(common)) * common / spreads**2
        shift[INTERCEPT] = 0.0
        roots = np.linalg.cholesky(self.covariances)
        own = np.einsum("cij,cj->ci", roots, rng.standard_normal(self.parameters.shape))
        drawn: FloatArray = np.asarray(self.parameters + self.covariances @ shift + own)
        drawn[:, SLOPE] = np.clip(drawn[:, SLOPE], SLOPE_FLOOR, SLOPE_CEILING)
        return drawn


def _sigmoid(x: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


def _logit(p: FloatArray) -> FloatArray:
    return np.asarray(np.log(p) - np.log1p(-p))


def _seen(parameters: FloatArray) -> FloatArray:
    slopes = np.exp(parameters[:, SLOPE, None])
    return _sigmoid(np.asarray(parameters[:, INTERCEPT, None] + slopes * bin_centres()))


def _unseen(parameters: FloatArray, named_share: FloatArray) -> FloatArray:
    return np.asarray((named_share * _sigmoid(parameters[:, UNSEEN]))[:, None])


def _shown(parameters: FloatArray, named_share: FloatArray) -> FloatArray:
    unseen = _unseen(parameters, named_share)
    return np.clip(unseen + (1.0 - unseen) * _seen(parameters), 1e-12, 1.0)


def _rates(
    parameters: FloatArray, named_share: FloatArray, noisy: bool
) -> tuple[FloatArray, FloatArray]:
    if not noisy:
        ones = np.ones((len(parameters), 1))
        return ones, np.zeros_like(ones)
    recall = np.clip(_sigmoid(parameters[:, RECALL, None]), 1e-6, 1 - 1e-6)
    mistake = named_share[:, None] * _sigmoid(parameters[:, MISTAKE, None])
    return recall, mistake


def fit_model(
    histograms: ScoreHistograms, *, noisy: bool = True, prior: Prior | None = None
) -> Fitted:
    """Fit all concepts together.

    See A. Menon, B. van Rooyen, C. S. Ong, B. Williamson, "Learning from corrupted binary labels
    via class-probability estimation", ICML 2015. B. Efron, "Large-scale inference", 2010 (empirical
    Bayes).
    """
    n_named = histograms.positive.sum(axis=1).astype(np.float64)
    n_images = histograms.total.sum(axis=1).astype(np.float64)
    share = (n_named + 0.5) / (n_images + 1.0)
    usual = prior or Prior.vague()
    start = np.tile(usual.means, (len(share), 1))
    start[:, INTERCEPT] = _logit(share) - np.exp(usual.means[SLOPE])
    fitted = Fitted(
        parameters=start,
        covariances=np.tile(np.eye(5), (len(share), 1, 1)),
        named_share=share,
        prior=usual,
        noisy=noisy,
    )
    for _ in range(1 if prior is not None else OUTER_STEPS):
        for _ in range(INNER_STEPS * (4 if prior is not None else 1)):
            fitted = _step(fitted, histograms, n_named)
        if prior is None:
            fitted = replace(fitted, prior=_usual(fitted, n_named))
    return fitted


def _centred_mentions(n_named: FloatArray) -> FloatArray:
    return np.asarray(np.log(n_named + 1.0) - np.log(20.0))


def _prior_tables(fitted: Fitted, n_named: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return prior means, shape (n_concepts, 5), and precisions, shape (5,)."""
    prior = fitted.prior
    means = np.tile(prior.means, (len(n_named), 1))
    means[:, INTERCEPT] = _logit(fitted.named_share) - 1.0
    means[:, MISTAKE] += prior.trend * _centred_mentions(n_named)
    spreads = prior.spreads.copy()
    spreads[INTERCEPT] = INTERCEPT_SPREAD
    return means, np.asarray(spreads**-2.0)


def _step(fitted: Fitted, histograms: ScoreHistograms, n_named: FloatArray) -> Fitted:
    """Take one damped step of Fisher scoring for every concept at once."""
    parameters = fitted.parameters
    seen, unseen = _seen(parameters), _unseen(parameters, fitted.named_share)
    shown = np.clip(unseen + (1.0 - unseen) * seen, 1e-12, 1.0)
    recall, mistake = _rates(parameters, fitted.named_share, fitted.noisy)
    named = np.clip(mistake + (recall - mistake) * shown, 1e-12, 1.0 - 1e-12)
    total = histograms.total
    told = recall - mistake
    rest = (1.0 - unseen) * seen * (1.0 - seen) * told
    slopes = np.exp(parameters[:, SLOPE, None])
    changes = np.zeros((*shown.shape, len(fitted.prior.means)))
    changes[..., INTERCEPT] = rest
    changes[..., SLOPE] = rest * slopes * bin_centres()
    floor = unseen / fitted.named_share[:, None]
    changes[..., UNSEEN] = told * (1.0 - seen) * unseen * (1.0 - floor)
    if fitted.noisy:
        changes[..., RECALL] = shown * recall * (1.0 - recall)
        share = mistake / fitted.named_share[:, None]
        changes[..., MISTAKE] = (1.0 - shown) * mistake * (1.0 - share)
    weights = 1.0 / (named * (1.0 - named))
    residuals = (histograms.positive - total * named) * weights
    means, precisions = _prior_tables(fitted, n_named)
    gradients = np.einsum("cb,cbi->ci", residuals, changes) - precisions * (parameters - means)
    weighted = changes * (total * weights)[..., None]
    information = weighted.transpose(0, 2, 1) @ changes + np.diag(precisions)
    steps = np.linalg.solve(information, gradients[..., None])[..., 0]
    longest = np.abs(steps).max(axis=1, keepdims=True)
    moved = parameters + steps * np.minimum(1.0, 0.7 / np.maximum(longest, 1e-12))
    moved[:, SLOPE] = np.clip(moved[:, SLOPE], SLOPE_FLOOR, SLOPE_CEILING)
    covariances = np.asarray(np.linalg.inv(information), dtype=np.float64)
    return replace(fitted, parameters=moved, covariances=covariances)


def _usual(fitted: Fitted, n_named: FloatArray) -> Prior:
    """Learn what is usual from the concepts, each weighted by how much it knows of itself."""
    prior = fitted.prior
    means, spreads, trend = prior.means.copy(), prior.spreads.copy(), prior.trend
    for column in (SLOPE, RECALL, MISTAKE) if fitted.noisy else (SLOPE,):
        values, variances = fitted.parameters[:, column], fitted.covariances[:, column, column]
        weights = np.clip(1.0 - variances / spreads[column] ** 2, 0.0, 1.0)
        if weights.sum() < 2.0:
            continue
        centre = np.full(len(values), np.average(values, weights=weights))
        if column == MISTAKE:
            x = _centred_mentions(n_named)
            trend = _trend(x, values - means[column], weights)
            centre = means[column] + trend * x
        else:
            means[column] = centre[0]
        spread = np.average((values - centre) ** 2 + variances, weights=weights)
        spreads[column] = float(np.clip(np.sqrt(spread), 0.05, WIDEST[column]))
    return Prior(means=means, spreads=spreads, trend=trend)


def _trend(x: FloatArray, y: FloatArray, weights: FloatArray) -> float:
    """Fit y = trend · x by weighted least squares, with the ridge of one more concept."""
    return float((weights * x * y).sum() / ((weights * x * x).sum() + 1.0))


LEFT = 0.158655  # share of a normal law below one standard deviation under its middle


def fit_nulls(histograms: ScoreHistograms) -> Fitted:
    """Fit every concept's probability of being shown to the excess of high scores.

    The law of images that do not show the concept is taken to be normal, with the median of all
    scores as its middle and the distance to the 16th percentile as its spread, because the lower
    half is hardly touched by images that do show it. A score's probability of being shown is the
    share of images there that the normal law does not account for; a logistic curve, pooled over
    concepts, smooths it.

    See B. Efron, "Size, power and false discovery rates", Annals of Statistics 35 (2007).
    """
    total = histograms.total.astype(np.float64)
    n_images = np.maximum(total.sum(axis=1, keepdims=True), 1.0)
    middle, spread = null_law(total)
    distance = (bin_centres() - middle[:, None]) / spread[:, None]
    expected = n_images * WIDTH / spread[:, None] * np.exp(-0.5 * distance**2) / np.sqrt(2 * np.pi)
    excess = np.where(distance > 1.0, np.maximum(total - expected, 0.0), 0.0)
    # beyond the chance of a handful of images the normal law has no tail left to subtract
    whole = np.round(excess).astype(np.int64)
    soft = ScoreHistograms(positive=whole, negative=histograms.total - whole)
    return fit_model(soft, noisy=False)


def null_law(total: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return middle and spread of the bulk of scores, each of shape (n_concepts,).

    A concept whose scores are all the same has the width of a bin as its spread.
    """
    shares = np.cumsum(total, axis=1) / np.maximum(total.sum(axis=1, keepdims=True), 1.0)
    edges = bin_centres() + WIDTH / 2.0
    middle = np.array([np.interp(0.5, row, edges) for row in shares])
    lower = np.array([np.interp(LEFT, row, edges) for row in shares])
    return middle, np.maximum(middle - lower, WIDTH)

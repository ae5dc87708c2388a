"""Known results: what is known of a dataset or a model beside frequencies moves a curve.

An anchor sets the level of a dataset's curve; frequencies and names say how its concepts differ.

* The mean accuracy on a dataset shifts its curve to that mean.
* Some labelled classes (accuracies measured on 3 or more of its classes) shift it to theirs, as far
  as their number allows: with few, the curve is trusted more (a random-intercept model).
* The model's accuracy on ImageNet, for a model that is not in the fit, shifts everything by the
  same distance on the logit scale as it shifts ImageNet.

Intervals about an anchored curve come from datasets held out and anchored in the same way, so they
hold what is left once the level is known.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from conceptaudit.curves.conformal import Band, new_dataset
from conceptaudit.curves.model_predictor import ModelPredictor, Queries, remark_on_names
from conceptaudit.curves.point_model import HeldOut
from conceptaudit.curves.records import ModelFit
from conceptaudit.curves.statistics import FloatArray, IntArray, group_means
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.names import name_keys, normalise_name
from conceptaudit.records import ConceptAccuracies

N_DRAWS = 5  # draws of labelled classes from each held-out dataset, to calibrate intervals on
EDGE = 0.01  # accuracies are kept this far from 0 and 1 on the logit scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Anchors of one dataset."""

    mean: float | None  # its mean accuracy
    labelled: IntArray  # positions, among the dataset's rows, of classes whose accuracy is known
    accuracy: FloatArray  # their accuracies
    shift: float  # distance on the logit scale by which the model differs from the fitted one


def anchored(
    prepared: ModelPredictor, known: Known, expected: FloatArray, level: float
) -> tuple[FloatArray, Band]:
    """Move the expectations of one dataset to its anchors, and bound what is left.

    `expected` is of the rows of the dataset, without anchors.
    """
    held = prepared.by_dataset
    said = []
    if known.shift:
        expected = expit(safe_logit(expected) + known.shift)
        said.append("the model's ImageNet accuracy given")
    if known.mean is not None:
        expected = shifted_to(expected, known.mean)
        held = _with_means(held)
        said.append("its mean accuracy given")
    elif len(known.labelled):
        level_sd, row_sd = _spreads(held)
        offsets = known.accuracy - expected[known.labelled]
        expected = np.clip(expected + _shrunken(offsets, level_sd, row_sd), 0.0, 1.0)
        held = _with_labels(held, len(known.labelled), prepared.estimator.seed)
        said.append(f"{len(known.labelled)} of its classes labelled")
    band = new_dataset(held, level, anchor=f" ({', '.join(said)})")
    return expected, replace(band, basis=band.basis + remark_on_names(held))


def shifted_to(expected: FloatArray, mean: float) -> FloatArray:
    """Add one number to all expectations, within [0, 1], so that they have this mean."""
    low, high = -1.0, 1.0
    usable = expected[np.isfinite(expected)]
    if not len(usable):
        return expected
    for _ in range(50):
        middle = (low + high) / 2
        if np.clip(usable + middle, 0.0, 1.0).mean() < mean:
            low = middle
        else:
            high = middle
    return np.clip(expected + (low + high) / 2, 0.0, 1.0)


def _spreads(held: HeldOut) -> tuple[float, float]:
    """Estimate the spread of dataset levels about the curve, and of concepts about those."""
    n = int(held.dataset.max()) + 1
    sizes = np.bincount(held.dataset, minlength=n)
    means = group_means(held.residual, held.dataset, n)
    within = held.residual - means[held.dataset]
    present = sizes > 0
    row = float(within @ within) / max(len(within) - int(present.sum()), 1)
    between = float(np.mean(means[present] ** 2 - row / sizes[present]))
    return float(np.sqrt(max(between, 0.0))), float(np.sqrt(row))


def _shrunken(offsets: FloatArray, level_sd: float, row_sd: float) -> float:
    """Level of a dataset from the offsets of a few of its concepts."""
    total = level_sd**2 + row_sd**2 / len(offsets)
    return float(offsets.mean()) * (level_sd**2 / total if total > 0 else 1.0)


def _with_means(held: HeldOut) -> HeldOut:
    """Residuals of held-out datasets whose means are known."""
    centre = np.empty_like(held.centre)
    for position in np.unique(held.dataset):
        members = held.dataset == position
        centre[members] = shifted_to(held.centre[members], float(held.outcome[members].mean()))
    return replace(held, centre=centre, residual=held.outcome - centre)


def _with_labels(held: HeldOut, n_labelled: int, seed: int) -> HeldOut:
    """Residuals of held-out datasets of which some classes, drawn at random, are labelled."""
    rng = np.random.default_rng(seed)
    level_sd, row_sd = _spreads(held)
    rest, centres = [], []
    for position in np.unique(held.dataset):
        members = np.flatnonzero(held.dataset == position)
        k = min(n_labelled, len(members) - 1)
        for _ in range(N_DRAWS if k > 0 else 0):
            drawn = rng.permutation(members)
            offset = _shrunken(held.residual[drawn[:k]], level_sd, row_sd)
            rest.append(drawn[k:])
            centres.append(np.clip(held.centre[drawn[k:]] + offset, 0.0, 1.0))
    rows, centre = np.concatenate(rest), np.concatenate(centres)
    return replace(
        held,
        centre=centre,
        residual=held.outcome[rows] - centre,
        dataset=held.dataset[rows],
        spread=None if held.spread is None else held.spread[rows],
    )


def safe_logit(accuracy: FloatArray) -> FloatArray:
    """Take the logit of accuracies kept away from 0 and 1, shape (n,)."""
    value: FloatArray = logit(np.clip(accuracy, EDGE, 1.0 - EDGE))
    return value


MIN_LABELLED = 3  # labelled classes of a dataset below which they say too little to be used
IMAGENET = "imagenet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchors:
    """Known results of datasets and the model, beside frequencies.

    Parameters
    ----------
    means : mapping of str to float
        Mean accuracy over the classes of an evaluation set, in [0, 1], by its name.
    labelled : ConceptAccuracies, optional
        Accuracies of at least `MIN_LABELLED` classes of an evaluation set, of one model.
    imagenet : float, optional
        Mean per-class ImageNet accuracy, in (0, 1), of the model that is predicted, where that
        is not the fitted one. The curve must have ImageNet among its datasets.

    Raises
    ------
    ConfigError
        A mean or the ImageNet accuracy is outside its range.

    Examples
    --------
    >>> Anchors(means={"pets": 0.8}).means["pets"]
    0.8
    """

    means: Mapping[str, float] = field(default_factory=dict)
    labelled: ConceptAccuracies | None = None
    imagenet: float | None = None

    def __post_init__(self) -> None:
        for name, mean in self.means.items():
            if not 0.0 <= mean <= 1.0:
                raise ConfigError(
                    f"The 'means' parameter of Anchors must hold accuracies in [0, 1]. Got {mean} "
                    f"for {name!r} instead; divide per cent by 100."
                )
        if self.imagenet is not None and not 0.0 < self.imagenet < 1.0:
            raise ConfigError(
                "The 'imagenet' parameter of Anchors must be an accuracy in (0, 1). Got "
                f"{self.imagenet} instead; divide per cent by 100."
            )

    @property
    def empty(self) -> bool:
        """Whether there is none."""
        return not self.means and self.labelled is None and self.imagenet is None

    def check(self, queries: Queries) -> None:
        """Refuse anchors of datasets or classes that are not among the queries."""
        asked = {normalise_name(name) for name in queries.names.values()}
        named = list(self.means)
        if self.labelled is not None:
            named += sorted({str(name) for name in self.labelled.table["dataset"]})
        unknown = [name for name in named if normalise_name(name) not in asked]
        if unknown:
            raise DataError(
                f"Anchors must be of evaluation sets that the frequencies name in a 'dataset' "
                f"column. Got {unknown[0]!r}; the frequencies name "
                f"{sorted(queries.names.values())[:20] or 'none'}."
            )

    def of(self, queries: Queries, members: npt.NDArray[np.intp], fit: ModelFit) -> Known | None:
        """Return what the anchors say of these rows, all of one dataset; None if nothing."""
        name = queries.names.get(int(queries.group[members[0]]), "")
        folded = normalise_name(name)
        means = {normalise_name(key): mean for key, mean in self.means.items()}
        labelled, accuracy = self._labelled(queries, members, folded, name)
        shift = 0.0 if self.imagenet is None else _imagenet_shift(self.imagenet, fit)
        mean = means.get(folded) if name else None
        if mean is None and not len(labelled) and not shift:
            return None
        return Known(mean=mean, labelled=labelled, accuracy=accuracy, shift=shift)

    def _labelled(
        self, queries: Queries, members: npt.NDArray[np.intp], folded: str, name: str
    ) -> tuple[IntArray, FloatArray]:
        if self.labelled is None or not name:
            return np.zeros(0, dtype=np.intp), np.zeros(0)
        table = self.labelled.table
        models = table[["model", "pretraining", "metric"]].drop_duplicates()
        if len(models) > 1:
            two = [" / ".join(map(str, models.iloc[row])) for row in (0, 1)]
            raise DataError(
                f"Labelled classes must be of one model and metric. Got {len(models)}, such as "
                f"{two[0]} and {two[1]}. Give the accuracies of one."
            )
        of_dataset = table[[normalise_name(str(d)) == folded for d in table["dataset"]]]
        rows = {normalise_name(queries.concepts[row]): i for i, row in enumerate(members)}
        names = name_keys(of_dataset["concept"])
        unknown = of_dataset["concept"][[key not in rows for key in names]]
        if len(unknown):
            raise DataError(
                f"Labelled classes must be among the classes of {name!r} in the frequencies. "
                f"{len(unknown)} are not, such as {unknown.iloc[0]!r}."
            )
        positions = np.array([rows[key] for key in names], dtype=np.intp)
        usable = np.isfinite(queries.x[members][positions])
        if len(usable) and usable.sum() < MIN_LABELLED:
            raise DataError(
                f"At least {MIN_LABELLED} labelled classes with a frequency are needed for "
                f"{name!r}. Got {int(usable.sum())} instead; label more, or leave them out."
            )
        return positions[usable], of_dataset["accuracy"].to_numpy(np.float64)[usable]


def _imagenet_shift(accuracy: float, fit: ModelFit) -> float:
    """Distance of a model from the fitted one, on the logit scale, seen on ImageNet."""
    means = {normalise_name(one.dataset): one.mean_accuracy for one in fit.effects.slopes}
    if IMAGENET not in means:
        raise DataError(
            "The ImageNet anchor needs a curve that was fitted on ImageNet among others: it "
            f"compares the two models there. The datasets of {fit.label} are {sorted(means)}."
        )
    return float(safe_logit(np.array([accuracy]))[0] - safe_logit(np.array([means[IMAGENET]]))[0])

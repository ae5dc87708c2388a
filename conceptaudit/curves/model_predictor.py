"""One model of a curve made ready to predict: its centre, its held-out residuals, its bands.

Nothing is computed before it is asked for, and nothing twice: predictions for new datasets need no
residuals within datasets, and the other way round.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri

from conceptaudit.curves.class_names import ClassNames, Encode, class_names
from conceptaudit.curves.conformal import (
    GRID,
    Band,
    known_dataset,
    mean_of_set,
    new_dataset,
)
from conceptaudit.curves.curve import Curve
from conceptaudit.curves.families import Estimator
from conceptaudit.curves.fit_data import FitData
from conceptaudit.curves.fitted import NEW_DATASET
from conceptaudit.curves.meaning import Meaning, fit_meaning
from conceptaudit.curves.point_model import (
    MIN_NAMED_ROWS,
    HeldOut,
    PointModel,
    fit_point_model,
    held_out_by_concept,
    held_out_by_dataset,
)
from conceptaudit.curves.records import ModelFit
from conceptaudit.curves.statistics import FloatArray, IntArray
from conceptaudit.names import name_keys, normalise_name

NAMES_HELP = "; class names among their rivals count as well"
MEANING_HELPS = "; class names, among their rivals and by their meaning, count as well"
OTHER_MODEL = "; the fitted model stands for another"

ELSEWHERE = (
    "; of another dataset than the only one of the fit: widened by how far levels of published "
    "sets lie apart (--mean or --labelled classes narrow it)"
)

# Standard deviation of the levels of published evaluation sets about their common line: partial
# pooling of CC12M and YFCC15M, whose four models have 0.13 to 0.16 (14 sets).
LEVEL_SD = 0.14


@dataclass(frozen=True, slots=True, kw_only=True)
class Queries:
    """The rows to predict."""

    counts: FloatArray  # (n,): as counted, and the axis of the curve, which is of the whole
    x: FloatArray
    concepts: Sequence[str]  # n
    # (n,): position of the row's dataset in the fit; -1 where it is new or not named
    dataset: IntArray
    # (n,): as `dataset` where that is known; a number of its own for each new dataset; -1 where
    # none is named
    group: IntArray
    names: dict[int, str]  # the dataset of each group, as the table spells it
    same_model: bool = True  # whether the model to be predicted is the fitted one

    def __len__(self) -> int:
        return len(self.x)


def queries_of(
    fit: ModelFit,
    table: pd.DataFrame,
    counts: FloatArray,
    x: FloatArray,
    *,
    same_model: bool = True,
) -> Queries:
    """Sort the rows of a frequency table by evaluation set: of the fit, new, or not named.

    Shapes: `counts`, `x` (n,).
    """
    known = {normalise_name(s.dataset): index for index, s in enumerate(fit.effects.slopes)}
    dataset = group = np.full(len(table), NEW_DATASET, dtype=np.intp)
    names = {}
    if "dataset" in table:
        codes, spelt = pd.factorize(table["dataset"])
        keys = name_keys(spelt)
        places = dict(known)
        for key in keys:
            places.setdefault(key, len(places))
        # a row without a set has the code -1, which finds what stands last
        dataset = np.array([*(known.get(key, -1) for key in keys), -1], dtype=np.intp)[codes]
        group = np.array([*(places[key] for key in keys), -1], dtype=np.intp)[codes]
        names = {places[key]: str(name) for key, name in zip(keys, spelt, strict=True)}
    return Queries(
        counts=counts,
        x=x,
        concepts=[str(name) for name in table["concept"]],
        dataset=dataset,
        group=group,
        names=names,
        same_model=same_model,
    )


@dataclass(kw_only=True)
class ModelPredictor:
    """One model of a curve, ready to predict."""

    rows: FitData  # what it was fitted to
    names: ClassNames  # names of the rows and of the queries, each among those of both
    queried: ClassNames
    estimator: Estimator
    _bands: dict[tuple[int, float], Band] = field(default_factory=dict)

    @cached_property
    def by_concept(self) -> HeldOut:
        """Residuals of concepts held out in folds."""
        return held_out_by_concept(self.rows, self.names, self.estimator, self.meaning)

    @cached_property
    def by_dataset(self) -> HeldOut:
        """Residuals of datasets held out one by one; of concepts where there is one dataset."""
        if self.rows.single:
            return self.by_concept
        return held_out_by_dataset(self.rows, self.names, self.estimator, self.meaning)

    @cached_property
    def centre(self) -> PointModel:
        """The fit to all rows, without the meaning of names."""
        return fit_point_model(self.estimator, self.rows, self.names)

    @cached_property
    def meaning(self) -> Meaning | None:
        """The meaning of the names of all rows; None where that is not used."""
        if not self.estimator.use_names or len(self.rows) < MIN_NAMED_ROWS:
            return None
        left = self.rows.y - self.centre.at(self.rows.x, self.rows.dataset, self.names)
        return fit_meaning(self.names, left, self.estimator.seed)

    def expected(
        self, queries: Queries, members: npt.NDArray[np.intp]
    ) -> tuple[FloatArray, FloatArray | None]:
        """Expect the accuracy of these query rows, all of one group, shape (len(members),).

        Also how far outcomes scatter about it, as `HeldOut.spread`; None if all alike.
        """
        position = self._position(queries, members)
        x, dataset = queries.x[members], np.full(len(members), position, dtype=np.intp)
        held = self.by_dataset if position < 0 else self.by_concept
        if not held.names_help:
            return self.centre.fitted.predict(x, dataset), None
        names = self.queried.take(members)
        value = self.centre.at(x, dataset, names)
        if not held.meaning_helps or self.meaning is None:
            return value, None
        added, spread = self.meaning.at(names)
        return np.clip(value + added, 0.0, 1.0), spread

    def is_surer(self, queries: Queries, members: npt.NDArray[np.intp], *, anchored: bool) -> bool:
        """Whether a known dataset has the interval of a new one: `anchored`, or another model's.

        It is surer of its names than those that were held out.
        """
        return self._position(queries, members) >= 0 and (anchored or self._foreign(queries))

    def shape(
        self, queries: Queries, members: npt.NDArray[np.intp], grid: FloatArray
    ) -> FloatArray:
        """Return the curve of these rows' group at each x of a grid, never falling."""
        position = self._position(queries, members)
        dataset = np.full(len(grid), position, dtype=np.intp)
        return np.maximum.accumulate(self.centre.fitted.predict(grid, dataset))

    def band(self, queries: Queries, members: npt.NDArray[np.intp], level: float) -> Band:
        """Return the interval for these query rows, all of one group."""
        position = self._position(queries, members)
        position = NEW_DATASET if self._foreign(queries) else position
        # sets that are new have one interval, however many they are
        if (position, level) not in self._bands:
            self._bands[position, level] = self._band(position, level)
        band = self._bands[position, level]
        elsewhere = self.rows.single and queries.group[members[0]] > 0
        remark = (ELSEWHERE if elsewhere else "") + ("" if queries.same_model else OTHER_MODEL)
        if elsewhere:
            band = _widened(band, level)
        return replace(band, basis=band.basis + remark)

    def set_mean(
        self,
        queries: Queries,
        members: npt.NDArray[np.intp],
        expected: FloatArray,
        level: float,
        *,
        anchored: bool = False,
    ) -> tuple[float, float, float]:
        """Expect the mean accuracy of these rows, all of one group, with its interval.

        Of a new dataset the interval is that of the means of datasets held out; of a known one
        that of as many of its classes held out. NaN for an `anchored` dataset.
        """
        elsewhere = self.rows.single and queries.group[members[0]] != 0
        if anchored or elsewhere:
            usable = expected[np.isfinite(expected)]
            return (float(usable.mean()) if len(usable) else np.nan), np.nan, np.nan
        position = NEW_DATASET if self._foreign(queries) else self._position(queries, members)
        held = self.by_dataset if position < 0 else self.by_concept
        return mean_of_set(held, position, expected, level)

    def _foreign(self, queries: Queries) -> bool:
        return not queries.same_model and not self.rows.single

    def _position(self, queries: Queries, members: npt.NDArray[np.intp]) -> int:
        """Position of the dataset that these rows are predicted as, -1 for a new one."""
        if self.rows.single:
            return 0
        return int(queries.dataset[members[0]]) if self.estimator.family.has_levels else -1

    def _band(self, position: int, level: float) -> Band:
        if position < 0:
            held, band = self.by_dataset, new_dataset(self.by_dataset, level)
        else:
            held = self.by_concept
            band = known_dataset(held, position, self.rows.datasets[position], level)
        return replace(band, basis=band.basis + remark_on_names(held))


def remark_on_names(held: HeldOut) -> str:
    """Write what class names have to do with a prediction, for its basis."""
    if held.meaning_helps:
        return MEANING_HELPS
    return NAMES_HELP if held.names_help else ""


def prepare(
    curve: Curve, fit: ModelFit, queries: Queries, encode: Encode | None = None
) -> ModelPredictor:
    """Make one model ready to predict these queries.

    A class name is judged among the names of its dataset in the fit and in the queries together;
    `encode` gives text vectors of names, see `class_names.class_names`.
    """
    rows = curve.rows(fit)
    group = np.concatenate([rows.dataset, queries.group])
    both = class_names([*curve.names(fit), *queries.concepts], group, encode)
    return ModelPredictor(
        rows=rows,
        names=both.take(slice(len(rows))),
        queried=both.take(slice(len(rows), None)),
        estimator=curve.estimator(fit),
    )


def _widened(band: Band, level: float) -> Band:
    """Widen an interval by the distance between the levels of two sets, as a normal error."""
    reach = float(ndtri((1 + level) / 2)) * LEVEL_SD * np.sqrt(2.0)
    below, above = np.hypot(GRID - band.low, reach), np.hypot(band.high - GRID, reach)
    return replace(band, low=np.maximum(GRID - below, 0.0), high=np.minimum(GRID + above, 1.0))

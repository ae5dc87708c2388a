"""What is known of a dataset or a model beside frequencies.

An anchor sets the level of a dataset's curve; frequencies and names say how its concepts differ.

* The mean accuracy on a dataset shifts its curve to that mean.
* Some labelled classes (accuracies measured on 3 or more of its classes) shift it to theirs, as far
  as their number allows: with few, the curve is trusted more (a random-intercept model).
* The model's accuracy on ImageNet, for a model that is not in the fit, shifts everything by the
  same distance on the logit scale as it shifts ImageNet.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from conceptaudit.curves.anchoring import Known, safe_logit
from conceptaudit.curves.joining import normalise_name
from conceptaudit.curves.prepared import Queries
from conceptaudit.curves.records import ModelFit
from conceptaudit.curves.statistics import FloatArray, IntArray
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import ConceptAccuracies

MIN_LABELLED = 3
"""Labelled classes of a dataset below which they say too little to be used."""

IMAGENET = "imagenet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchors:
    """What is known of datasets and the model beside frequencies.

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
        """Refuse anchors of datasets or classes that are not among the queries.

        Raises
        ------
        DataError
            Naming them.
        """
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
        """Return what the anchors say of these rows, all of one dataset; None if nothing.

        Raises
        ------
        DataError
            A labelled class is not among the rows, or there are fewer than `MIN_LABELLED`.
        """
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
        nothing = np.zeros(0, dtype=np.intp), np.zeros(0)
        if self.labelled is None or not name:
            return nothing
        table = self.labelled.table
        models = table[["model", "pretraining", "metric"]].drop_duplicates()
        if len(models) > 1:
            two = [" / ".join(map(str, models.iloc[row])) for row in (0, 1)]
            raise DataError(
                f"Labelled classes must be of one model and metric. Got {len(models)}, such as "
                f"{two[0]} and {two[1]}. Give the accuracies of one."
            )
        of_dataset = table[[normalise_name(str(d)) == folded for d in table["dataset"]]]
        if of_dataset.empty:
            return nothing
        rows = {normalise_name(queries.concepts[row]): i for i, row in enumerate(members)}
        names = [normalise_name(str(concept)) for concept in of_dataset["concept"]]
        unknown = [
            c for c, key in zip(of_dataset["concept"], names, strict=True) if key not in rows
        ]
        if unknown:
            raise DataError(
                f"Labelled classes must be among the classes of {name!r} in the frequencies. "
                f"{len(unknown)} are not, such as {unknown[0]!r}."
            )
        positions = np.array([rows[key] for key in names], dtype=np.intp)
        usable = np.isfinite(queries.x[members][positions])
        if usable.sum() < MIN_LABELLED:
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

"""Curve: fits of accuracy against frequency, with the rows that they were fitted to.

It is saved as one JSON file, readable by anything and never executed when read. The rows are stored
in columns, concepts once for all models, so that a curve of twenty models on four thousand concepts
takes about a megabyte.
"""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pandas as pd

from conceptaudit.curves.binned import BinRecipe
from conceptaudit.curves.families import Estimator, family_named
from conceptaudit.curves.fit_data import FitData, fit_data_of
from conceptaudit.curves.fitted import FittedFamily, built, plain
from conceptaudit.curves.joining import COUNTED
from conceptaudit.curves.records import (
    FOLDED_COLUMNS,
    POINT_COLUMNS,
    UNMATCHED_COLUMNS,
    DatasetSlope,
    ModelFit,
)
from conceptaudit.curves.scale import ScaleEffect
from conceptaudit.display import as_html, show
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.store.checking import check_finished
from conceptaudit.store.partials import whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Accuracy against frequency, for one or many models on the same frequencies.

    Parameters
    ----------
    family : str
        A name in `families.known_families`.
    count : str
        ``"n_text"``, ``"n_image"`` or ``"n_joint"``.
    zero_policy : str
        What a count of zero became: ``"log1p"``, ``"exclude"``, ``"hurdle"`` or (``paper``)
        ``"one"``.
    level : float
        Level of the intervals in `fits`.
    seed : int
    source : str
        The audited dataset.
    share : float
        Share of it that was audited, in (0, 1]; below 1 the counts are expected of the whole.
    fits : tuple of ModelFit
    digest : str
        SHA-256 of the joined rows and the settings.
    notes : tuple of str
    points : pandas.DataFrame
        The rows in the fits, columns `POINT_COLUMNS`.
    unmatched : pandas.DataFrame
        Concepts on one side only, columns `UNMATCHED_COLUMNS`.
    folded : pandas.DataFrame
        Names that met only after case and separators were folded, columns `FOLDED_COLUMNS`.
    scale : ScaleEffect or None
        What a covariate of the models does to slopes and levels, where one was given.
    """

    family: str
    count: str
    zero_policy: str
    level: float
    seed: int
    source: str
    share: float
    fits: tuple[ModelFit, ...]
    digest: str
    notes: tuple[str, ...]
    points: pd.DataFrame = field(repr=False, compare=False)
    unmatched: pd.DataFrame = field(repr=False, compare=False)
    folded: pd.DataFrame = field(repr=False, compare=False)
    scale: ScaleEffect | None = None

    @property
    def table(self) -> pd.DataFrame:
        """One row per model: what ``fit.csv`` holds; slopes per decade, ``n_*`` of concepts."""
        return pd.DataFrame([_row(self, fit) for fit in self.fits])

    @property
    def slopes(self) -> pd.DataFrame:
        """One row per model and dataset: what ``datasets.csv`` holds; slopes per decade."""
        columns = ["model", *(item.name for item in fields(DatasetSlope))]
        rows = [{"model": f.label, **asdict(one)} for f in self.fits for one in f.effects.slopes]
        return pd.DataFrame(rows, columns=columns)

    def select(self, model: str | None) -> tuple[ModelFit, ...]:
        """Return the fits of a model, named by `ModelFit.label` or by its model name.

        Raises
        ------
        ConfigError
            There is none.
        """
        if model is None:
            return self.fits
        found = tuple(fit for fit in self.fits if model in (fit.label, fit.model))
        if not found:
            known = ", ".join(fit.label for fit in self.fits[:20])
            raise ConfigError(
                f"The 'model' parameter must name a model of the curve ({known}). "
                f"Got {model!r} instead."
            )
        return found

    def points_of(self, fit: ModelFit) -> pd.DataFrame:
        """Return the rows that a fit was made from."""
        return self.points[self.points["fit"] == self.fits.index(fit)]

    def rows(self, fit: ModelFit) -> FitData:
        """Return the rows that a fit was made from as arrays."""
        return fit_data_of(self.points_of(fit), self.zero_policy)

    def names(self, fit: ModelFit) -> list[str]:
        """Return the concept name of each of these rows."""
        return [str(name) for name in self.points_of(fit)["concept"]]

    def estimator(self, fit: ModelFit) -> Estimator:
        """Return how a model's curve was fitted, to fit it again on parts of its rows."""
        binned, family = fit.binned, family_named(self.family)
        recipe = BinRecipe(n_edges=len(binned.counts), first=binned.first, last=binned.last)
        return Estimator(family=family, recipe=recipe, seed=self.seed, use_names=family.has_levels)

    def fitted(self, fit: ModelFit) -> FittedFamily:
        """Return what predicts: the fitted family of one of the curve's models."""
        return family_named(self.family).restore(fit.parameters)

    def plot(self) -> Any:
        """Draw accuracy against frequency; a notebook shows it, ``save(path)`` writes it."""
        return show("curve", self)

    def _repr_html_(self) -> str:
        title = f"Accuracy against {self.count} in {self.source or 'the audited data'}"
        return as_html(title, self.table, self.notes)

    def save(self, path: Path | str) -> None:
        """Write the curve as JSON, whole or not at all; see `load`.

        Raises
        ------
        DataError
            The folder cannot be written to.
        """
        file, content = Path(path), _encoded(self)
        body = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with whole(file) as partial:
                partial.write_bytes(body.encode("utf-8", "replace") + b"\n")
        except OSError as error:
            raise DataError(f"Cannot write {file}: {error.strerror or error}.") from error

    @staticmethod
    def load(path: Path | str) -> "Curve":
        """Read a curve that `save` wrote, from its file or its folder.

        Raises
        ------
        DataError
            The file is missing, damaged or of another schema version.
        """
        return _loaded(Path(path))


def _row(curve: Curve, fit: ModelFit) -> dict[str, object]:
    line, effects, binned = fit.line, fit.effects, fit.binned
    return {
        "model": fit.model,
        "pretraining": fit.pretraining,
        "metric": fit.metric,
        "source": curve.source,
        "count": curve.count,
        "family": curve.family,
        "zero_policy": curve.zero_policy,
        "level": curve.level,
        "n_datasets": len(effects.slopes),
        "n_datasets_negative": effects.n_negative,
        "n_concepts": fit.usage.n_concepts,
        "n_used": fit.usage.n_used,
        "n_zero": fit.usage.n_zero,
        "n_dropped": sum(fit.usage.dropped.values()),
        "dropped": "; ".join(f"{reason}: {n}" for reason, n in fit.usage.dropped.items()),
        "slope_per_decade": line.slope,
        "slope_low": line.slope_low,
        "slope_high": line.slope_high,
        "interval_method": line.method,
        "interval_df": line.df,
        "slope_boot_low": line.boot_low,
        "slope_boot_high": line.boot_high,
        "intercept": line.intercept,
        "residual_sd": line.residual_sd,
        "r_per_concept": line.r,
        "r_low": line.r_low,
        "r_high": line.r_high,
        "rho_per_concept": line.rho,
        "interval_resamples": line.resampled,
        "slope_within": effects.slope_within,
        "slope_within_low": effects.slope_within_low,
        "slope_within_high": effects.slope_within_high,
        "slope_between": effects.slope_between,
        "p_within": effects.p_within,
        "overdispersion": fit.overdispersion,
        **_error_columns(fit),
        "r_binned": binned.r,
        "p_binned": binned.p_value,
        "r_binned_shuffled": binned.r_shuffled,
        "r_binned_shuffled_low": binned.r_shuffled_low,
        "r_binned_shuffled_high": binned.r_shuffled_high,
        "bins_kept": f"[{binned.first}:{binned.last or ''}] of {len(binned.counts)}",
        "n_in_kept_bins": binned.n_in_kept_bins,
        "notes": " ".join(fit.notes),
    }


def _error_columns(fit: ModelFit) -> dict[str, object]:
    """Return the slope without the error of the counts; NaN where no count has an interval."""
    error, none = fit.count_error, float("nan")
    return {
        "slope_corrected": error.slope if error else none,
        "slope_corrected_low": error.slope_low if error else none,
        "slope_corrected_high": error.slope_high if error else none,
        "count_reliability": error.reliability if error else none,
    }


SCHEMA = "conceptaudit/curve"
SCHEMA_VERSION = 3
FILE_NAME = "curve.json"

Json = Any

_CONCEPT_COLUMNS = ("dataset", "concept", *COUNTED)
_SETTINGS = ("family", "count", "zero_policy", "level", "seed", "source", "share", "digest")


def _loaded(path: Path) -> Curve:
    """Read a curve from its file, or from the folder that holds it as ``curve.json``."""
    file = path / FILE_NAME if path.is_dir() else path
    check_finished(file.parent)
    if not file.exists():
        raise DataError(f"There is no curve at {path}; `conceptaudit fit … -o {path}` writes one.")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"Cannot read {file} as a curve: {error}.") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise DataError(f"{file} is not a curve; `conceptaudit fit` writes one.")
    if content.get("schema_version") != SCHEMA_VERSION:
        raise DataError(
            f"{file} has schema version {content.get('schema_version')!r}; this program reads "
            f"version {SCHEMA_VERSION}. Fit the curve again."
        )
    hints = get_type_hints(Curve)
    try:
        curve = Curve(
            **{name: built(hints[name], content[name]) for name in _SETTINGS},
            notes=tuple(content["notes"]),
            fits=tuple(built(ModelFit, fit) for fit in content["fits"]),
            # curves of before scale have none
            scale=built(hints["scale"], content.get("scale")),
            points=_points(content["concepts"], content["points"]),
            folded=pd.DataFrame(content["folded"], columns=list(FOLDED_COLUMNS)).astype("str"),
            unmatched=pd.DataFrame(content["unmatched"], columns=list(UNMATCHED_COLUMNS)).astype(
                "str"
            ),
        )
        _check(curve)
    except (LookupError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise DataError(f"{file} is a damaged curve: {error!r}. Fit the curve again.") from error
    return curve


def _check(curve: Curve) -> None:
    """Refuse what no fit writes and predictions would stumble on."""
    if not curve.fits:
        raise ValueError("it holds no fit")
    if curve.seed < 0:
        raise ValueError(f"a seed of {curve.seed}")
    names = {name for fit in curve.fits for name in (fit.model, fit.pretraining, fit.metric)}
    names |= {*curve.points["dataset"].unique(), *curve.points["concept"].unique()}
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"{name!r} is no name")
        name.encode()  # JSON's escapes can make lone surrogates
    accuracy, count = curve.points["accuracy"].to_numpy(), curve.points["count"].to_numpy(float)
    if not ((accuracy >= 0) & (accuracy <= 1)).all() or not (count >= 0).all():
        raise ValueError("an accuracy outside [0, 1], or a count below 0")


def _encoded(curve: Curve) -> Json:
    keys = curve.points[list(_CONCEPT_COLUMNS)]
    concepts = keys.drop_duplicates().reset_index(drop=True)
    positions = keys.merge(concepts.reset_index(names="position"), how="left")["position"]
    fit = curve.points["fit"].to_numpy()
    accuracy = curve.points["accuracy"].to_numpy()
    n_images = curve.points["n_images"].to_numpy(np.float64)
    position = positions.to_numpy()
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        **{name: getattr(curve, name) for name in _SETTINGS},
        "notes": list(curve.notes),
        "scale": plain(curve.scale),
        "fits": [plain(model) for model in curve.fits],
        "concepts": {name: plain(concepts[name].tolist()) for name in concepts},
        "points": [
            {
                "concept": position[fit == index].tolist(),
                "accuracy": accuracy[fit == index].tolist(),
                "n_images": plain(n_images[fit == index].tolist()),
            }
            for index in range(len(curve.fits))
        ],
        "folded": curve.folded[list(FOLDED_COLUMNS)].to_numpy().tolist(),
        "unmatched": curve.unmatched[list(UNMATCHED_COLUMNS)].to_numpy().tolist(),
    }


def _points(concepts: Json, fits: Json) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "dataset": pd.Series(concepts["dataset"], dtype="str"),
            "concept": pd.Series(concepts["concept"], dtype="str"),
            **{name: np.asarray(concepts[name], dtype=np.float64) for name in COUNTED},
        }
    )
    parts = []
    for index, fit in enumerate(fits):
        positions = np.asarray(fit["concept"], dtype=np.intp)
        if len(positions) and positions.min() < 0:
            raise IndexError("a negative position")
        part = table.iloc[positions]
        accuracy = np.asarray(fit["accuracy"], dtype=np.float64)
        n_images = np.asarray(fit["n_images"], dtype=np.float64)
        parts.append(part.assign(fit=index, accuracy=accuracy, n_images=n_images))
    return pd.concat(parts, ignore_index=True)[list(POINT_COLUMNS)]

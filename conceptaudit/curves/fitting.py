"""Fit accuracy against frequency, one model after another, on the same joined rows."""

import hashlib
import json
import re
from collections.abc import Mapping

import pandas as pd

from conceptaudit.curves.binned import recipe_for
from conceptaudit.curves.curve import Curve
from conceptaudit.curves.families import DEFAULT_FAMILY, Estimator, Family, family_named
from conceptaudit.curves.fit_data import ZERO_POLICIES, fit_data_of
from conceptaudit.curves.joining import KEY_COLUMNS, Joined, accuracies_of, frequencies_of, join
from conceptaudit.curves.model_fitting import MIN_POINTS, fit_model
from conceptaudit.curves.records import POINT_COLUMNS, ModelFit
from conceptaudit.curves.scale import fit_scale
from conceptaudit.curves.statistics import check_level
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, FitError
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.records import ConceptAccuracies, ConceptFrequencies

GALLERY = (
    "Recall@k falls as the gallery grows (COCO's has 5,000 images, Flickr30k's 1,000): levels of "
    "sets differ by that too, and the curve holds for galleries as large as those of the fit."
)

OFF_THE_LINE = (
    "A count of zero in a sample is not zero in the whole, and nothing but accuracy tells where it "
    "lies: concepts without a count have a level of their own, off the line (zero policy 'hurdle')."
)


def fit_curve(
    frequencies: ConceptFrequencies | pd.DataFrame,
    accuracies: ConceptAccuracies | pd.DataFrame,
    *,
    count: str = "auto",
    family: str = DEFAULT_FAMILY,
    zero_policy: str = "log1p",
    pretraining: str = "auto",
    level: float = 0.9,
    seed: int = 0,
    aliases: Mapping[str, str] | None = None,
    duplicates: str = "refuse",
    scales: tuple[str, Mapping[tuple[str, str], float]] | None = None,
    progress: Progress | None = None,
) -> Curve:
    """Fit per-concept accuracy against log frequency, for every model in the accuracies.

    Parameters
    ----------
    frequencies : ConceptFrequencies or pandas.DataFrame
        Counts, at least 0, of one audited dataset; or a table of them, see `ConceptFrequencies`.
    accuracies : ConceptAccuracies or pandas.DataFrame
        Accuracies in [0, 1], or a table of them with ``concept`` and ``accuracy`` (or ``acc1``, or
        ``n_correct`` and ``n_images``); each (model, pretraining, metric) gets a fit of its own.
    count : {"auto", "n_text", "n_image", "n_joint"}
        See `counts.choose_count`.
    family : str
        A name in `families.known_families`; ``"partial-pooling"`` by default, ``"paper"`` for the
        published line through trimmed bin means.
    zero_policy : {"log1p", "exclude", "hurdle"}
        log10(1 + count); log10(count) without the concepts whose count is zero; or log10(1 +
        count) with an accuracy of their own for the concepts whose count is zero, as always where
        counts are of a sample. The ``paper``
        family has its own: zero becomes one.
    pretraining : str
        ``"auto"`` keeps the models that were pretrained on the audited dataset where names
        allow to tell, and all of them otherwise; ``"all"`` keeps all; a name keeps that one.
    level : float
        Level of the intervals, in (0, 1).
    seed : int
        Seed of resampling and shuffling; the order of rows has no influence.
    aliases, duplicates
        As for `join`.
    scales : tuple of str and mapping, optional
        Name of a covariate of the models, such as their parameters, and its value by model and
        pretraining; what it does to slopes is fitted, see `scale.ScaleEffect`.
    progress : Progress, optional
        Told of every fitted model.

    Returns
    -------
    Curve

    Raises
    ------
    ConfigError
        A parameter has no such value.
    DataError
        The tables contradict themselves; see `join`.
    FitError
        No model has three usable concepts with different frequencies.

    References
    ----------
    Udandarao et al., "No 'Zero-Shot' Without Exponential Data", arXiv 2404.04125.

    Examples
    --------
    >>> import pandas as pd
    >>> counts = ConceptFrequencies(
    ...     pd.DataFrame({"concept": ["yak", "emu", "cat", "dog"], "n_text": [9, 99, 999, 9999]}))
    >>> scores = ConceptAccuracies(pd.DataFrame({
    ...     "model": "RN50", "pretraining": "", "dataset": "zoo", "metric": "accuracy",
    ...     "concept": ["yak", "emu", "cat", "dog"], "n_correct": [1, 2, 3, 4], "n_images": 10,
    ...     "accuracy": [0.1, 0.2, 0.3, 0.4]}))
    >>> fit = fit_curve(counts, scores).fits[0]
    >>> round(fit.line.slope, 6), fit.usage.n_used
    (0.1, 4)
    """
    chosen = family_named(family)
    frequencies, accuracies = frequencies_of(frequencies), accuracies_of(accuracies)
    policy, notes = _settle(chosen, zero_policy, level, frequencies.share)
    accuracies, selected = _of_pretraining(frequencies, accuracies, pretraining)
    joined = join(frequencies, accuracies, count=count, aliases=aliases, duplicates=duplicates)
    fits: list[ModelFit] = []
    points: list[pd.DataFrame] = []
    failures: list[str] = []
    keys = accuracies.table[list(KEY_COLUMNS)].astype("str").value_counts().sort_index()
    groups = dict(list(joined.table.groupby(list(KEY_COLUMNS))))
    reported = progress or SilentProgress()
    reported.start("fit", len(keys), unit="models")
    for (model, origin, metric), total in zip(keys.index, keys, strict=True):
        estimator = Estimator(
            family=chosen, recipe=recipe_for(origin or frequencies.source, metric), seed=seed
        )
        try:
            fit, used = fit_model(
                groups.get((model, origin, metric), joined.table.iloc[:0]),
                (model, origin, metric),
                int(total),
                estimator,
                count=joined.count,
                zero_policy=policy,
                level=level,
            )
        except FitError as error:
            failures.append(f"{'/'.join(filter(None, (model, origin, metric)))}: {error}")
            continue
        finally:
            reported.advance()
        fits.append(fit)
        points.append(used.assign(fit=len(fits) - 1)[list(POINT_COLUMNS)])
    reported.finish()
    if not fits:
        raise FitError(_no_fit_message(joined, failures))
    table = pd.concat(points, ignore_index=True)
    scale = None
    if scales is not None:
        name, by_model = scales
        values = {fit.label: by_model.get((fit.model, fit.pretraining), 0.0) for fit in fits}
        rows_of = [fit_data_of(part, policy) for part in points]
        scale = fit_scale(name, values, list(values), rows_of, level)
    inputs = [chosen.name, joined.count, policy, level, seed, frequencies.source, frequencies.share]
    return Curve(
        family=chosen.name,
        count=joined.count,
        zero_policy=policy,
        level=level,
        seed=seed,
        source=frequencies.source,
        share=frequencies.share,
        fits=tuple(fits),
        digest=_digest(table, fits, inputs),
        notes=(
            f"Frequencies are {joined.count}.",
            *notes,
            *selected,
            *accuracies.notes,
            *joined.notes,
            *([GALLERY] if any("recall@" in fit.metric for fit in fits) else []),
            *(f"Not fitted: {failure}" for failure in failures),
        ),
        points=table,
        unmatched=joined.unmatched,
        folded=joined.folded,
        scale=scale,
    )


def _settle(
    family: Family, zero_policy: str, level: float, share: float
) -> tuple[str, tuple[str, ...]]:
    if zero_policy not in ZERO_POLICIES:
        raise ConfigError(
            f"The 'zero_policy' parameter of fit_curve must be one of {list(ZERO_POLICIES)}. "
            f"Got {zero_policy!r} instead."
        )
    check_level(level)
    if family.zero_policy is None and zero_policy == "log1p" and share < 1.0:
        return "hurdle", (OFF_THE_LINE,)
    if family.zero_policy is None:
        return zero_policy, ()
    return family.zero_policy, (
        f"The {family.name!r} family takes counts of zero as one, whatever the zero policy.",
    )


def _of_pretraining(
    frequencies: ConceptFrequencies, accuracies: ConceptAccuracies, pretraining: str
) -> tuple[ConceptAccuracies, tuple[str, ...]]:
    """Keep the models whose training data is what was audited."""
    table = accuracies.table
    names = sorted(str(name) for name in table["pretraining"].unique())
    if pretraining == "all" or (pretraining == "auto" and names == [""]):
        return accuracies, ()
    wanted = _folded(frequencies.source if pretraining == "auto" else pretraining)
    kept = [name for name in names if _folded(name) == wanted]
    if not kept and pretraining != "auto":
        raise ConfigError(
            f"The 'pretraining' parameter must be 'auto', 'all' or one of {names}. "
            f"Got {pretraining!r} instead."
        )
    if not kept:
        remark = (
            f"No model is named as pretrained on the audited dataset ({frequencies.source!r}): "
            f"all models are fitted, pretrained on {', '.join(filter(None, names))}."
        )
        return accuracies, (remark,)
    if len(kept) == len(names):
        return accuracies, ()
    rows = table["pretraining"].astype("str").isin(kept)
    left_out = [name for name in names if name not in kept]
    remark = (
        f"Only models pretrained on {', '.join(kept)} are fitted; left out: "
        f"{', '.join(name or '(unnamed)' for name in left_out)}."
    )
    return ConceptAccuracies(table[rows], accuracies.notes), (remark,)


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def _digest(points: pd.DataFrame, fits: list[ModelFit], settings: list[object]) -> str:
    columns = [points[name].astype("object").to_list() for name in POINT_COLUMNS]
    content = [settings, [fit.label for fit in fits], columns]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _no_fit_message(joined: Joined, failures: list[str]) -> str:
    message = failures[0] if failures else "There are no accuracies to fit."
    if len(failures) > 1:
        message += (
            f" The other {quantity(len(failures) - 1, 'model fails', 'models fail')} as well."
        )
    if len(joined.table) >= MIN_POINTS:
        return message
    unmatched = joined.unmatched.groupby("side").head(3)
    shown = {
        side: ", ".join(f"{row.concept!r} of {row.dataset!r}" for row in rows.itertuples())
        for side, rows in unmatched.groupby("side")
    }
    if not shown:
        return message
    return (
        f"{message} Names that did not meet: in the accuracies "
        f"{shown.get('accuracies', 'none')}; in the frequencies {shown.get('frequencies', 'none')}."
    )

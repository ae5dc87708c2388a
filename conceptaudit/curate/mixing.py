"""Several audited datasets as one: shares, sizes, and the mixture that a curve would choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError
from conceptaudit.frequency.sides import side_names
from conceptaudit.names import normalise_name
from conceptaudit.records import ConceptFrequencies


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Runs and their shares.

    Parameters
    ----------
    folders : tuple of Path
    names : tuple of str
    shares : tuple of float
        Of the result; their sum is one.
    """

    folders: tuple[Path, ...]
    names: tuple[str, ...]
    shares: tuple[float, ...]

    @classmethod
    def of(cls, runs: Sequence[tuple[str | Path, float | None]]) -> Mixture:
        """Fill in the shares that are not given: they divide the rest equally.

        Raises
        ------
        ConfigError
            There is no run, a share is not in (0, 1], or shares do not add up to one.

        Examples
        --------
        >>> Mixture.of([("a", 0.7), ("b", None), ("c", None)]).shares
        (0.7, 0.15, 0.15)
        """
        if not runs:
            raise ConfigError("A curation needs at least one audit.")
        given = [share for _, share in runs if share is not None]
        if any(not 0.0 < share <= 1.0 for share in given):
            raise ConfigError(f"Shares of runs must lie in (0, 1]. Got {given} instead.")
        open_ = sum(share is None for _, share in runs)
        rest = 1.0 - sum(given)
        if rest < -1e-9 or (not open_ and abs(rest) > 1e-6) or (open_ and rest <= 1e-9):
            raise ConfigError(
                f"Shares of runs must add up to 1, as in A=0.7 B=0.3. Got {given} for "
                f"{quantity(len(runs), 'run')} instead."
            )
        shares = [round(rest / open_, 12) if s is None else s for _, s in runs]
        return cls(
            folders=tuple(Path(folder) for folder, _ in runs),
            names=tuple(side_names([folder for folder, _ in runs])),
            shares=tuple(shares),
        )


def parse_run(text: str) -> tuple[str, float | None]:
    """Read ``RUN`` or ``RUN=SHARE``.

    Examples
    --------
    >>> parse_run("runs/a=0.7"), parse_run("runs/b")
    (('runs/a', 0.7), ('runs/b', None))
    """
    folder, equals, share = text.rpartition("=")
    if not equals or Path(text).is_dir():
        return text, None
    try:
        return folder, float(share)
    except ValueError:
        return text, None


def mixture_sizes(mixture: Mixture, available: Sequence[int], size: int | None) -> list[int]:
    """Decide how many samples each run gives.

    Parameters
    ----------
    mixture : Mixture
    available : sequence of int
        Samples of each run that are left.
    size : int or None
        Of the result; None takes as many as no run is exceeded.

    Raises
    ------
    ConfigError
        A run has not so many.
    """
    pairs = list(zip(mixture.names, mixture.shares, available, strict=True))
    whole = size if size is not None else int(min(n / share for _, share, n in pairs))
    sizes = [round(whole * share) for share in mixture.shares]
    for (name, share, n), wanted in zip(pairs, sizes, strict=True):
        if wanted > n:
            most = int(min(m / s for _, s, m in pairs))
            raise ConfigError(
                f"--size {whole:,} takes {quantity(wanted, 'sample')} of {name} ({share:.0%}), "
                f"which has {n:,} left. Take at most --size {most:,}, or other shares; repeats "
                "would add no pair that was not seen."
            )
    if not all(sizes):
        raise ConfigError(f"--size {whole:,} leaves a run without a sample: take more.")
    return sizes


def union_of_names(
    frequencies: Sequence[ConceptFrequencies],
) -> tuple[list[str], list[np.ndarray[Any, np.dtype[np.intp]]]]:
    """Name the concepts that all runs have, and where each run has them.

    Raises
    ------
    ConfigError
        They have none in common.
    """
    if len(frequencies) == 1:
        names = [str(name) for name in frequencies[0].table["concept"]]
        return names, [np.arange(len(names))]
    keys = [[normalise_name(str(n)) for n in one.table["concept"]] for one in frequencies]
    common = set(keys[0]).intersection(*keys[1:])
    if not common:
        raise ConfigError("The runs have no concept in common: audit all with one list.")
    chosen = [key for key in dict.fromkeys(keys[0]) if key in common]
    first = dict(zip(keys[0], frequencies[0].table["concept"], strict=True))
    places = []
    for own in keys:
        position = {key: i for i, key in reversed(list(enumerate(own)))}
        places.append(np.array([position[key] for key in chosen], dtype=np.intp))
    return [str(first[key]) for key in chosen], places

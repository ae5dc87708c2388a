"""Builders of small tables, and fast settings for tests that fit many times."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
import pytest

from conceptaudit.curves import binned, intervals, model_fitting
from conceptaudit.records import ConceptAccuracies, ConceptFrequencies


def frequencies_of(
    counts: Sequence[float], concepts: Sequence[str] | None = None, *, source: str = "", **columns
) -> ConceptFrequencies:
    names = concepts if concepts is not None else [f"class {i}" for i in range(len(counts))]
    return ConceptFrequencies(
        pd.DataFrame({"concept": list(names), "n_text": list(counts), **columns}), source
    )


def accuracies_of(
    values: Sequence[float], concepts: Sequence[str] | None = None, **columns
) -> ConceptAccuracies:
    names = concepts if concepts is not None else [f"class {i}" for i in range(len(values))]
    row = {
        "model": "RN50",
        "pretraining": "",
        "dataset": "zoo",
        "concept": list(names),
        "n_correct": pd.NA,
        "n_images": pd.NA,
        "accuracy": np.asarray(values, dtype=float),
        "metric": "accuracy",
    }
    return ConceptAccuracies(pd.DataFrame({**row, **columns}))


@pytest.fixture(scope="session")
def make_frequencies() -> Callable[..., ConceptFrequencies]:
    return frequencies_of


@pytest.fixture(scope="session")
def make_accuracies() -> Callable[..., ConceptAccuracies]:
    return accuracies_of


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "N_RESAMPLES", 50)
    monkeypatch.setattr(intervals, "N_REFITS", 10)
    monkeypatch.setattr(model_fitting, "N_SHUFFLES", 19)
    monkeypatch.setattr(binned, "N_SHUFFLES", 5)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few resamples and shuffles, for tests that look at neither."""
    hurry(monkeypatch)


@pytest.fixture(scope="module")
def quick_module() -> Iterator[None]:
    """The same for a whole module."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        hurry(monkeypatch)
        yield

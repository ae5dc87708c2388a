"""Simulated scores with a truth: what is shown, what captions say of it, what a model sees."""

from dataclasses import dataclass

import numpy as np
import pytest

from conceptaudit.image.calibration import Scale, ScoreHistograms, count_scores
from conceptaudit.records import Concept, ConceptVocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Tables of shape (images, concepts)."""

    shown: np.ndarray
    named: np.ndarray
    scores: np.ndarray

    @property
    def histograms(self) -> ScoreHistograms:
        return count_scores(self.scores, self.named)

    @property
    def scale(self) -> Scale:
        n = self.shown.shape[1]
        return Scale(means=np.full(n, 0.2), spreads=np.full(n, 0.03))

    @property
    def vocabulary(self) -> ConceptVocabulary:
        return ConceptVocabulary(
            tuple(Concept(name=f"thing {i}") for i in range(self.shown.shape[1]))
        )

    @property
    def vectors(self) -> np.ndarray:
        return np.eye(self.shown.shape[1], dtype=np.float32)


def simulate(
    *,
    n_images: int = 4_000,
    n_concepts: int = 24,
    distance: float = 3.0,
    recall: float = 0.75,
    mistaken: float = 0.12,
    seed: int = 0,
) -> World:
    rng = np.random.default_rng(seed)
    share = 0.15 * np.arange(1, n_concepts + 1) ** -0.9
    shown = rng.random((n_images, n_concepts)) < share
    mistakes = share * recall * mistaken / (1 - mistaken)
    named = np.where(shown, rng.random(shown.shape) < recall, rng.random(shown.shape) < mistakes)
    scores = rng.standard_normal(shown.shape) + distance * shown
    return World(shown=shown, named=named, scores=scores)


@pytest.fixture(scope="session")
def world() -> World:
    return simulate()

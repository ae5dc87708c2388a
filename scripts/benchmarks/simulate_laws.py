"""Predict from a line what another law has made, and count how often intervals hold.

    python scripts/benchmarks/simulate_laws.py --repetitions 12

Concepts of one or several evaluation sets get accuracies by a law that is no line (but for
*falling*), about which they differ by a beta distribution; a tenth of the counts are zero. A curve
is fitted to some and predicts others. Prints a row per case (share of classes inside their
interval, its standard error over repetitions, share flagged as extrapolated) and one JSON line;
the same arguments give the same numbers.
"""

import argparse
import json
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from conceptaudit.curves import fit_curve, predict
from conceptaudit.records import ConceptAccuracies, ConceptFrequencies

LAWS = {
    "saturating": lambda x: 0.1 + 0.8 * (1 - 10 ** (-0.25 * x)),
    "step": lambda x: np.where(x < 2, 0.15, 0.75),
    "falling": lambda x: 0.7 - 0.08 * x,
    "logit": lambda x: 1 / (1 + np.exp(-2 * (x - 2.5))),
}
LEVEL_SD, CORRELATION, ZEROS = 0.08, 0.15, 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is fitted and what is predicted.

    Parameters
    ----------
    law : str
    n, n_sets : int
        Fitted concepts, over so many evaluation sets.
    images, tested : int
        Test images per class: in the fit, and where it is tested.
    high : float
        Decades up to which the fitted frequencies go.
    asked : tuple of float
        Decades between which the predicted ones lie.
    new : bool
        Whether the predicted classes are of a set that is not in the fit.
    """

    law: str
    n: int = 150
    n_sets: int = 1
    images: int = 20
    tested: int = 20
    high: float = 5.0
    asked: tuple[float, float] = (0.0, 5.0)
    new: bool = False


CASES = (
    *(Case(law=law) for law in LAWS),
    *(Case(law=law, n=400, n_sets=10, new=new) for law in ("saturating", "step") for new in (0, 1)),
    Case(law="saturating", images=50, tested=5),
    Case(law="saturating", images=5, tested=50),
    Case(law="saturating", high=3.0, asked=(4.0, 6.0)),
    Case(law="logit", high=2.5, asked=(4.0, 6.0)),
    Case(law="step", high=1.8, asked=(3.0, 5.0)),
    Case(law="saturating", n=20),
)


def results(
    case: Case, rng: np.random.Generator, levels: np.ndarray, n: int, *, fitted: bool
) -> pd.DataFrame:
    """Draw classes: ``concept, dataset, n_text, n_correct, n_images, accuracy``."""
    low, high = (0.0, case.high) if fitted else case.asked
    counts = np.floor(10 ** rng.uniform(low, high, n))
    if low == 0:
        counts[rng.random(n) < ZEROS] = 0
    sets = np.arange(n) % len(levels)
    mean = np.clip(LAWS[case.law](np.log10(1 + counts)) + levels[sets], 0.02, 0.98)
    shape = 1 / CORRELATION - 1
    images = case.images if fitted else case.tested
    right = rng.binomial(images, rng.beta(mean * shape, (1 - mean) * shape))
    kind = "set" if fitted or not case.new else "new"
    return pd.DataFrame(
        {
            "concept": [f"{'fitted' if fitted else 'asked'} {i}" for i in range(n)],
            "dataset": [f"{kind} {s}" for s in sets],
            "n_text": counts,
            "n_correct": right,
            "n_images": images,
            "accuracy": right / images,
        }
    )


def inside(case: Case, seed: int) -> tuple[float, float]:
    """Share of predicted classes inside their interval, and share flagged, in one world."""
    rng = np.random.default_rng(seed)
    spread = LEVEL_SD if case.n_sets > 1 else 0.0
    levels = rng.normal(0, spread, case.n_sets)
    known = results(case, rng, levels, case.n, fitted=True)
    others = rng.normal(0, spread, 1) if case.new else levels
    asked = results(case, rng, others, 100, fitted=False)
    columns = ["concept", "dataset", "n_text"]
    scores = known.drop(columns="n_text").assign(model="m", pretraining="", metric="accuracy")
    curve = fit_curve(ConceptFrequencies(known[columns]), ConceptAccuracies(scores))
    found = predict(curve, ConceptFrequencies(asked[columns]))
    held = (found["low"] <= asked["accuracy"]) & (asked["accuracy"] <= found["high"])
    return float(held.mean()), float(found["extrapolated"].mean())


def main() -> None:
    """Run all cases and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=12)
    arguments = parser.parse_args()
    told = []
    for case in CASES:
        runs = np.array([inside(case, seed) for seed in range(arguments.repetitions)])
        share, error = runs[:, 0].mean(), runs[:, 0].std(ddof=1) / np.sqrt(len(runs))
        told.append({**asdict(case), "inside": share, "error": error, "flagged": runs[:, 1].mean()})
        print(
            f"{case.law:<11} {case.n:>4} classes of {case.n_sets:>2} sets, images "
            f"{case.images:>2} -> {case.tested:>2}, decades 0-{case.high:g} -> "
            f"{case.asked[0]:g}-{case.asked[1]:g}, {'new' if case.new else 'known'} sets: "
            f"{share:.3f} ± {error:.3f}, flagged {runs[:, 1].mean():.2f}",
            flush=True,
        )
    print(json.dumps({"repetitions": arguments.repetitions, "cases": told}))


if __name__ == "__main__":
    main()

"""Plans against what they would have come to: simulated classes that move along their set's line.

    python scripts/benchmarks/simulate_plans.py [--repetitions 20]

Every repetition draws sixteen evaluation sets (see `World`), fits them, plans for a target, and
compares the examples of each reachable class with those that its true accuracy and the true slope
of its set make necessary. Printed: how many of the 90 % intervals hold these, over all classes and
over the twenty cheapest of each repetition, which a lucky test would bring to the top.
"""

import argparse
import json

import numpy as np
import pandas as pd

from conceptaudit.curves import Plan, fit_curve, intervals, model_fitting, plan
from conceptaudit.curves.simulated import World, simulate
from conceptaudit.records import ConceptAccuracies, ConceptFrequencies

N_CHEAPEST = 20
WORLDS = {
    "default": World(count_error=0.0),
    "alike": World(count_error=0.0, slope_sd=0.005),
    "eight sets": World(count_error=0.0, n_datasets=8),
    "few images": World(count_error=0.0, correlation=0.05),
}


def planned(world: World, target: float, seed: int) -> tuple[Plan, pd.DataFrame]:
    """Draw a world, fit it and plan for a target; with the truth, a row per class."""
    truth = simulate(world, seed=seed)
    counts = truth[["dataset", "concept", "count"]].rename(columns={"count": "n_text"})
    scores = truth.assign(model="m", pretraining="", metric="accuracy")
    frequencies = ConceptFrequencies(counts)
    curve = fit_curve(frequencies, ConceptAccuracies(scores), seed=seed)
    return plan(curve, frequencies, target=target), truth


def coverage(world: World, target: float, seed: int) -> dict[str, float]:
    """Return how many intervals hold what it takes, of all and of the cheapest classes."""
    found, truth = planned(world, target, seed)
    table = found.table.merge(truth, on=["dataset", "concept"], suffixes=("", "_true"))
    lacking = np.maximum(target - table["true_accuracy"], 0.0)
    there = np.log10(1.0 + table["true_count"]) + lacking / np.maximum(table["true_slope"], 1e-9)
    needed = np.where(
        lacking > 0, 10.0 ** np.minimum(there, 300.0) - 1.0 - table["true_count"], 0.0
    )
    held = table["examples_low"].le(needed) & (needed <= table["examples_high"])
    reachable = (table["status"] == "reachable").to_numpy()
    cheapest = reachable & (table["order"] <= N_CHEAPEST).to_numpy()
    return {
        "all": float(held[reachable].mean()),
        "cheapest": float(held[cheapest].mean()),
        "n": int(reachable.sum()),
        "finite": float(np.isfinite(table["examples_high"][reachable]).mean()),
    }


def main() -> None:
    """Print one line per world and target."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=20)
    repetitions = parser.parse_args().repetitions
    # The slope's own interval and its permutations play no part in a plan.
    intervals.N_RESAMPLES, model_fitting.N_SHUFFLES = 10, 9
    for title, world in WORLDS.items():
        for target in (0.5, 0.7):
            runs = pd.DataFrame([coverage(world, target, seed) for seed in range(repetitions)])
            error = runs[["all", "cheapest"]].std() / np.sqrt(repetitions)
            print(
                json.dumps(
                    {
                        "world": title,
                        "target": target,
                        **runs.mean().round(3).to_dict(),
                        "error": error.round(3).to_dict(),
                    }
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()

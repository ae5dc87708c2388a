"""Pack the published accuracies that the package ships as reference.

    python scripts/package_data/make_reference.py --data ../shared/data/reference

Reads per-class accuracies under ensemble prompts, and writes one parquet table: a row per
evaluation set and class, with the number of test images and how many of them each model got right.
Counts are packed by ``make_reference_counts.py``.

The number of test images was not published. It is the smallest that makes whole numbers of correct
images out of a class's accuracies under all models and prompts; a class for which there is none up
to 3,000 keeps no number, and its accuracies stand in ten-thousandths.

Source: bethgelab/frequency_determines_performance (MIT).
"""

import argparse
from pathlib import Path

import numpy as np

from conceptaudit.curves.reference import PACKED, SCALE
from conceptaudit.zeroshot.readers import read_accuracies

LARGEST = 3_000


def n_images(accuracies: np.ndarray) -> int:
    """Return the smallest number of images that explains these accuracies; 0 if there is none."""
    products = np.arange(1, LARGEST + 1)[:, None] * accuracies
    whole = np.abs(products - np.round(products)).max(axis=1) < 1e-6
    return int(whole.argmax()) + 1 if whole.any() else 0


def main() -> None:
    """Read, pack, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data/reference"))
    data = parser.parse_args().data
    every = read_accuracies(data / "zero_shot_evaluations").table
    sizes = every.groupby(["dataset", "concept"])["accuracy"].agg(
        lambda values: n_images(values.to_numpy())
    )
    mine = every[every["metric"] == "accuracy_ensemble"]
    mine = mine.assign(label=mine["pretraining"] + "/" + mine["model"])
    table = mine.pivot_table(
        index=["dataset", "concept"], columns="label", values="accuracy", aggfunc="first"
    )
    size = sizes.reindex(table.index).to_numpy()
    units = np.where(size > 0, size, SCALE)
    packed = {
        f"correct {label}": np.round(table[label].to_numpy() * units).astype(np.int16)
        for label in table
    }
    result = table.index.to_frame(index=False).assign(n_images=size.astype(np.int16), **packed)
    PACKED.parent.mkdir(parents=True, exist_ok=True)
    result.to_parquet(PACKED, compression="zstd", compression_level=19, index=False)
    print(
        f"{len(result):,} rows, {PACKED.stat().st_size:,} bytes, {(size == 0).sum()} without size"
    )


if __name__ == "__main__":
    main()

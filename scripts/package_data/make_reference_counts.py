"""Pack what others published and the package ships: counts of class names, and text vectors.

    python scripts/package_data/make_reference_counts.py --data ../shared/data

Counts become one parquet table per source, a column per count and corpus: the paper's search counts
(text, image, joint as in its main figures), ``clip_beyond_tail.csv`` (without the two MetaCLIP
corpora, which were counted in data under CC BY-NC) and ``swat.csv``. Text vectors of ImageNet's
class names by two CLIP models are centred, given length 1, put side by side and rounded to a byte a
number. Prints the digests that `conceptaudit.frequency.reference` names.

Sources: bethgelab/frequency_determines_performance, CVMI-Lab/clip-beyond-tail, tian1327/SWAT (MIT).
"""

import argparse
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.curves.class_names import ENCODED
from conceptaudit.frequency.readers import read_frequencies
from conceptaudit.frequency.reference import DATA

VECTORS = ("in1k_clip_vitb32_wit400m_a+cname.npy", "in1k_openclip_vitb32_laion400m_a+cname.npy")

CORPORA = ("cc3m", "cc12m", "yfcc15m", "synthci30m", "laion400m")

SHIPPED = ("cc12m", "yfcc15m", "laion400m", "laion2b")
"""Corpora of clip-beyond-tail that may be shipped."""

RENAMED = {
    ("imagenet", "eft"): "newt",
    ("imagenet", "maillot"): "tights",
    ("eurosat", "brushland or shrubland"): "herbaceous vegetation land",
    ("eurosat", "industrial buildings or commercial buildings"): "industrial buildings",
    ("eurosat", "lake or sea"): "sea or lake",
    ("eurosat", "residential buildings or homes or apartments"): "residential buildings",
}
"""Classes that clip-beyond-tail calls otherwise than the published accuracies do."""


def write(table: pd.DataFrame, name: str) -> None:
    """Write a table of counts."""
    DATA.mkdir(exist_ok=True)
    path = DATA / f"{name}.parquet"
    counts = table.select_dtypes("number").columns
    table = table.astype({c: "Int64" for c in counts if not c.startswith("relevance")})
    table.to_parquet(path, compression="zstd", compression_level=19, index=False)
    digest = sha256(path.read_bytes()).hexdigest()
    print(f"{name}: {len(table):,} rows, {path.stat().st_size:,} bytes, {digest}")


def pack_paper(folder: Path) -> None:
    """Write the paper's counts, all evaluation and retrieval sets."""
    parts = []
    for corpus in CORPORA:
        counts = read_frequencies(folder, pretraining=corpus).table.set_index(
            ["dataset", "concept"]
        )
        parts.append(counts.add_suffix(f" {corpus}"))
    write(pd.concat(parts, axis=1).sort_index().reset_index(), "paper")


def pack_clip_beyond_tail(path: Path) -> None:
    """Write clip-beyond-tail's counts of the corpora that may be shipped."""
    table = pd.read_csv(path, keep_default_na=False)
    table = table[table["corpus"].isin(SHIPPED)]
    keys = zip(table["dataset"], table["concept"], strict=True)
    table = table.assign(concept=[RENAMED.get(key, key[1]) for key in keys])
    wide = table.pivot_table(
        index=["dataset", "concept"], columns="corpus", values="n_text", aggfunc="first"
    )[list(SHIPPED)].add_prefix("n_text ")
    write(wide.reset_index(), "clip_beyond_tail")


def pack_swat(path: Path) -> None:
    """Write SWAT's counts of LAION-400M."""
    table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    table = table.rename(columns={"most_common_name": "name"}).round({"n_relevant": 0})
    write(table[["dataset", "concept", "name", "n_text", "n_relevant"]], "swat")


def pack_vectors(folder: Path) -> None:
    """Write the text vectors."""
    parts = []
    for name in VECTORS:
        vectors = np.load(folder / name, allow_pickle=False).astype(np.float64)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors -= vectors.mean(axis=0)
        parts.append(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    together = np.hstack(parts)
    rounded = np.round(together * (127 / np.abs(together).max())).astype(np.int8)
    names = pd.read_csv(folder / "classes.csv")["concept"].to_numpy(dtype="str")
    np.savez_compressed(ENCODED, names=names, vectors=rounded)
    print(f"{len(names):,} names, {ENCODED.stat().st_size:,} bytes of text vectors")


def main() -> None:
    """Read, pack, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    data = parser.parse_args().data
    pack_paper(data / "reference" / "search_counts")
    pack_clip_beyond_tail(data / "reference_counts" / "clip_beyond_tail.csv")
    pack_swat(data / "reference_counts" / "swat.csv")
    pack_vectors(data / "clip" / "imagenet_text_vectors")


if __name__ == "__main__":
    main()

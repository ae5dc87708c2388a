"""Make the table of what is a kind of what that the package ships, from Open English WordNet.

    python scripts/package_data/make_noun_kinds.py

One line per noun sense, more general ones first: the lines (from 0) of what it is a kind of, and
its names, each with the number of the sense among those of that name where there are several. The
lexicon is read from the folder that CONCEPTAUDIT_REALDATA names (default: ../shared/data).
"""

from __future__ import annotations

import gzip
import os
import re
from collections import defaultdict, deque
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "conceptaudit" / "text" / "data" / "noun_kinds.txt.gz"
_JOINTS = re.compile(r"[\s_-]+")


def sense_numbers(lemmas: pd.DataFrame) -> dict[str, list[tuple[str, int]]]:
    """Names of each synset, with the number of the sense (0 for the only one)."""
    senses: dict[str, list[str]] = defaultdict(list)
    nouns = lemmas[lemmas["pos"] == "n"]
    # a pole is a rod before it is a Pole: captions are matched without case
    lower_first = nouns.iloc[
        np.argsort(nouns["lemma"] != nouns["lemma"].str.lower(), kind="stable")
    ]
    for row in lower_first.itertuples():
        name = _JOINTS.sub(" ", row.lemma.lower())
        senses[name] += [synset for synset in row.synsets.split("|") if synset not in senses[name]]
    names: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for name, synsets in sorted(senses.items()):
        for number, synset in enumerate(synsets, start=1):
            names[synset].append((name, number if len(synsets) > 1 else 0))
    return names


def general_first(parents: dict[str, list[str]]) -> list[str]:
    """Order synsets so that each follows what it is a kind of."""
    children: dict[str, list[str]] = defaultdict(list)
    waiting = {synset: len(above) for synset, above in parents.items()}
    for synset, above in sorted(parents.items()):
        for one in above:
            children[one].append(synset)
    ready = deque(sorted(synset for synset, n in waiting.items() if n == 0))
    order = []
    while ready:
        synset = ready.popleft()
        order.append(synset)
        for child in children[synset]:
            waiting[child] -= 1
            if waiting[child] == 0:
                ready.append(child)
    return order


def main() -> None:
    """Write the table."""
    folder = Path(os.environ.get("CONCEPTAUDIT_REALDATA", ROOT.parent / "shared" / "data"))
    synsets = pd.read_parquet(folder / "lexicon" / "noun_synsets.parquet")
    names = sense_numbers(pd.read_parquet(folder / "lexicon" / "lemmas.parquet"))
    known = set(synsets["synset"])
    parents = {
        row.synset: [one for one in row.hypernyms.split("|") if one in known]
        for row in synsets.itertuples()
    }
    order = general_first(parents)
    place = {synset: i for i, synset in enumerate(order)}
    lines = []
    for synset in order:
        told = "|".join(f"{name}{f';{n}' if n else ''}" for name, n in names[synset])
        lines.append(f"{','.join(str(place[one]) for one in parents[synset])}\t{told}")
    OUT.write_bytes(gzip.compress("\n".join(lines).encode(), compresslevel=9, mtime=0))
    print(f"{len(lines)} of {len(synsets)} senses, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()

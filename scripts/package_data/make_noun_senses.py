"""Make the table of noun senses that the package ships, from Open English WordNet.

    python scripts/package_data/make_noun_senses.py

One line per lemma of several words: the lemma, its number of noun senses where there are more than
one, and ``=`` where the lemma written in one word is a name of the same thing ("hot dog=").
Single words are in the noun tagger's lexicon already. The lexicon is read from the folder that
CONCEPTAUDIT_REALDATA names (default: ../shared/data).
"""

from __future__ import annotations

import gzip
import os
import re
from collections import defaultdict
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "conceptaudit" / "text" / "data" / "noun_senses.txt.gz"
_JOINTS = re.compile(r"[\s_-]+")


def main() -> None:
    """Write the table."""
    folder = Path(os.environ.get("CONCEPTAUDIT_REALDATA", ROOT.parent / "shared" / "data"))
    synsets = pd.read_parquet(folder / "lexicon" / "noun_synsets.parquet")
    senses: dict[str, set[str]] = defaultdict(set)
    for row in synsets.itertuples():
        for member in row.members.split("|"):
            senses[_JOINTS.sub(" ", member.lower())].add(row.synset)
    lines = []
    for lemma, meanings in sorted(senses.items()):
        if " " not in lemma:
            continue
        joined = senses.get(lemma.replace(" ", ""), set())
        number = str(len(meanings)) if len(meanings) > 1 else ""
        lines.append(f"{lemma}\t{number}{'=' if joined & meanings else ''}".rstrip())
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_bytes(gzip.compress("\n".join(lines).encode(), compresslevel=9, mtime=0))
    print(f"{len(lines)} lemmas, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()

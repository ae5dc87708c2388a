"""Counts of images and judged samples against what five captions per photograph say.

    python scripts/benchmarks/bench_image_counts.py --caption 3 --repetitions 5

Audits the 488 Flickr8k photographs of the real data with LVIS names and published vectors, with all
five captions as evidence or with one (--caption 0 to 4). A photograph truly shows what any of its
captions names, or a kind of it. Prints how far the given counts are off, and coverage and width of
counts from judged samples, drawn by `judge` and at random, beside Wilson's interval.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.auditing import AuditOptions, audit, correct, draw_sample
from conceptaudit.auditing.mentions import mention_vocabulary
from conceptaudit.frequency.intervals import wilson_interval
from conceptaudit.records import Concept, ConceptVocabulary
from conceptaudit.text.pipeline import find_pipeline
from conceptaudit.text.tagger import TextTagger, annotator_of

LEAST = 3
"""True photographs from which a concept is judged."""


def named(captions: list[str], vocabulary: ConceptVocabulary) -> np.ndarray:
    """Return which captions name which concepts or kinds of them."""
    marks = np.zeros((len(captions), len(vocabulary)), dtype=bool)
    for words in (vocabulary, mention_vocabulary(vocabulary)):
        tagger = TextTagger(vocabulary=words, pipeline=find_pipeline("bundled", pos="noun"))
        for row, found in enumerate(annotator_of(tagger).tag(captions)):
            if not isinstance(found, str):
                marks[row, list(found.counts)] = True
    return marks


def main() -> None:
    """Audit, judge and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--caption", type=int, help="0 to 4; all five by default")
    parser.add_argument("--budget", type=int, default=60)
    parser.add_argument("--repetitions", type=int, default=5)
    asked = parser.parse_args()
    real = Path(os.environ.get("CONCEPTAUDIT_REALDATA", "../shared/data")) / "clip"
    photos, detic = real / "flickr8k_vitb32_photos", real / "detic_text_embeddings"
    table = pd.read_csv(detic / "lvis_categories.csv")
    vocabulary = ConceptVocabulary(
        tuple(
            Concept(name=r.name, aliases=tuple(str(r.synonyms).split("|")), synset=r.synset)
            for r in table[["name", "synonyms", "synset"]].itertuples(index=False, name="Row")
        )
    )
    metadata = pd.read_parquet(photos / "metadata" / "metadata_0.parquet")
    images = np.load(photos / "img_emb" / "img_emb_0.npy", allow_pickle=False)
    keys, photo = np.unique(metadata["image_path"].to_numpy(dtype=str), return_inverse=True)
    shown = np.zeros((len(keys), len(vocabulary)), dtype=bool)
    np.logical_or.at(shown, photo, named(list(metadata["caption"]), vocabulary))
    true = shown.sum(axis=0)
    rows = np.arange(len(metadata))
    if asked.caption is not None:
        rows = rows[metadata.groupby("image_path", sort=False).cumcount() == asked.caption]
    with tempfile.TemporaryDirectory() as work:
        for part in ("img_emb", "metadata"):
            (Path(work) / "set" / part).mkdir(parents=True)
        np.save(Path(work) / "set/img_emb/img_emb_0.npy", images[rows])
        part = metadata.iloc[rows].reset_index(drop=True)
        part.to_parquet(Path(work) / "set/metadata/metadata_0.parquet")
        vectors = str(detic / "lvis_v1_clip_a+cname.npy")
        options = AuditOptions(concept_vectors=vectors, evidence=0)
        run = audit(Path(work) / "set", vocabulary, Path(work) / "run", options=options)
        given = run.table["n_image_corrected"].notna().to_numpy() & (true > 0)
        counts = run.table[given]
        inside = (counts["n_image_corrected_low"] <= true[given]) & (
            true[given] <= counts["n_image_corrected_high"]
        )
        errors = np.abs(np.log(counts["n_image_corrected"] / true[given]))
        print(json.dumps({"given": len(counts), "error": errors.median(), "cover": inside.mean()}))
        chosen = np.flatnonzero(true >= LEAST)
        results = []
        for seed in range(asked.repetitions):
            results += judged(run.folder, keys, shown, chosen, vocabulary, asked.budget, seed)
    frame = pd.DataFrame(results, columns=["way", "true", "inside", "width", "wilson"])
    frame["size"] = np.where(frame["true"] >= 5, "at least 5", "3 or 4")
    summary = frame.groupby(["way", "size"]).agg(
        coverage=("inside", "mean"), width=("width", "median"), wilson=("wilson", "median")
    )
    print(summary.round(3).to_string())


def judged(
    run: Path,
    keys: np.ndarray,
    shown: np.ndarray,
    chosen: np.ndarray,
    vocabulary: ConceptVocabulary,
    budget: int,
    seed: int,
) -> list[tuple[str, int, bool, float, float]]:
    """Judge one sample that `judge` draws and one at random."""
    names = [vocabulary.names[c] for c in chosen]
    position = dict(zip(names, chosen, strict=True))
    drawn, _ = draw_sample(run, budget=budget, concepts=names, seed=seed)
    random = np.random.default_rng(seed).choice(len(keys), budget, replace=False)
    plain = pd.DataFrame({"key": np.repeat(keys[random], len(names)), "concept": names * budget})
    results = []
    for way, table in (("judge", drawn), ("random", plain)):
        rows = np.searchsorted(keys, table["key"].to_numpy(dtype=str))
        table["present"] = shown[rows, table["concept"].map(position)].astype(int)
        file = run.parent / f"{way}.parquet"
        table.to_parquet(file)
        counted = correct(run, file)[0].set_index("concept")
        for name, concept in position.items():
            row, true = counted.loc[name], int(shown[:, concept].sum())
            low, high = wilson_interval(int(shown[random, concept].sum()), budget)
            ends = row["n_image_judged_low"], row["n_image_judged_high"]
            inside = bool(ends[0] <= true <= ends[1])
            width = float(ends[1] - ends[0])
            results.append((way, true, inside, width, (high - low) * len(keys)))
    return results


if __name__ == "__main__":
    main()

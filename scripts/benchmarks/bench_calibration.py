"""Ways to decide which images show a concept, and to count them, against each other.

    python scripts/benchmarks/bench_calibration.py --lab-seeds 1 2 3 --cifar RUN --flickr

Data with known truth: the simulator's scenes, seen by the bundled CLIP; CIFAR-100-LT, seen by the
model that `lab_cifar.py --keep RUN` trained on it, once the pairs it was trained on and once a
long tail of test photographs; a hundred Flickr8k photographs with published CLIP vectors. Prints a
table per data set and one JSON line. The same arguments give the same numbers.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from lab_cifar_data import CaptionShares, long_tailed, write_caption
from truth_measures import average_precision, best_f1, precision_recall

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.frequency.misclassification import Counted, correct_counts
from conceptaudit.image.calibration import (
    Moments,
    Scale,
    ScoreHistograms,
    contrast_vectors,
    count_scores,
    learn,
)
from conceptaudit.image.clip import find_clip
from conceptaudit.image.clip_models import LAB
from conceptaudit.image.decode import decode_image
from conceptaudit.image.vectors import read_concept_vectors, unit_rows
from conceptaudit.lab import generate, lab_vocabulary, read_truth
from conceptaudit.lab.bundled import lab_training
from conceptaudit.options.audit import DEFAULT_THRESHOLD
from conceptaudit.records import Concept, ConceptVocabulary

LABELLED = (3, 10, 50)
"""Labelled images per concept."""

BOOTSTRAPS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """One data set with its truth; tables are of shape (images, concepts)."""

    name: str
    images: np.ndarray
    concepts: np.ndarray
    named: np.ndarray
    shown: np.ndarray
    fixed: float
    least: int
    photographs: np.ndarray | None = None

    def rows(self, chosen: np.ndarray) -> "Data":
        """Take some of the images, with repetition."""
        return replace(
            self, images=self.images[chosen], named=self.named[chosen], shown=self.shown[chosen]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to decide and to count."""

    name: str
    scores: np.ndarray | None
    tags: np.ndarray | None
    counts: np.ndarray
    interval: tuple[np.ndarray, np.ndarray] | None = None
    joint: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lab-seeds", type=int, nargs="*", default=[])
    parser.add_argument("--samples", type=int, default=6_000, help="of each lab data set")
    parser.add_argument("--cifar", type=Path, help="folder that lab_cifar.py --keep wrote")
    parser.add_argument("--cifar-seed", type=int, default=1, help="the seed it was drawn with")
    parser.add_argument("--flickr", action="store_true")
    parser.add_argument("--cache", type=Path, help="keep generated data sets and audits here")
    return parser.parse_args()


def tables(run: Path, truth: pd.DataFrame, names: list[str]) -> tuple[np.ndarray, ...]:
    """Read an audit's embeddings and text tags, and the truth, of the images that were usable."""
    keys, position = pd.Index(truth["key"]), {name: i for i, name in enumerate(names)}
    vectors, rows = [], []
    for path in sorted((run / "embeddings").glob("*.npy")):
        loaded = np.load(path, allow_pickle=False).astype(np.float32)
        used = np.abs(loaded).sum(axis=1) > 0
        vectors.append(unit_rows(loaded[used]))
        rows.append(keys.get_indexer(pd.read_parquet(path.with_suffix(".parquet"))["key"])[used])
    named = np.zeros((len(keys), len(names)), dtype=bool)
    for table in text_tags(run):
        named[keys.get_indexer(table["key"]), table["concept_id"]] = True
    shown = np.zeros_like(named)
    for row, things in enumerate(truth["image"]):
        shown[row, [position[name] for name in things]] = True
    chosen = np.concatenate(rows)
    return np.concatenate(vectors), named[chosen], shown[chosen]


def text_tags(run: Path) -> Iterator[pd.DataFrame]:
    """Read the text tags of an audit; drops and evidence lie beside them."""
    for path in sorted((run / "text").glob("*.parquet")):
        if path.suffixes == [".parquet"]:
            yield pd.read_parquet(path)


def lab(seed: int, n_samples: int, cache: Path) -> Data:
    """Draw, audit and read one simulated data set, with the knobs of the truth benchmark."""
    training = lab_training()
    config = replace(
        training.config,
        seed=seed,
        n_samples=n_samples,
        link_rot_rate=0.02,
        truncated_rate=0.005,
        empty_caption_rate=0.005,
    )
    folder = cache / f"lab-{seed}-{n_samples}"
    vocabulary = lab_vocabulary(config)
    if not (folder / "data" / "truth.parquet").exists():
        generate(config, folder / "data")
    options = AuditOptions(
        clip=LAB,
        device="cpu",
        threshold=training.threshold,
        templates=training.templates,
        workers=1,
    )
    audit(folder / "data", vocabulary, folder / "run", options=options, resume=True)
    images, named, shown = tables(
        folder / "run", read_truth(folder / "data"), list(vocabulary.names)
    )
    return Data(
        name=f"lab, seed {seed}",
        images=images,
        concepts=np.load(folder / "run" / "concept_vectors.npy", allow_pickle=False),
        named=named,
        shown=shown,
        fixed=training.threshold,
        least=20,
    )


def cifar_seen(folder: Path, seed: int) -> Data:
    """Read the pairs that the CIFAR model was trained on."""
    pairs = long_tailed(100, seed, CaptionShares())
    truth = pd.DataFrame({"key": pairs.table["key"], "image": [[n] for n in pairs.table["label"]]})
    images, named, shown = tables(folder / "run", truth, list(pairs.names))
    return Data(
        name="CIFAR-100-LT, the pairs the model was trained on",
        images=images,
        concepts=np.load(folder / "run" / "concept_vectors.npy", allow_pickle=False),
        named=named,
        shown=shown,
        fixed=DEFAULT_THRESHOLD,
        least=1,
    )


def cifar_unseen(folder: Path, seed: int) -> Data:
    """Draw a long tail of test photographs, 100 to 1 of a class, with captions of known truth."""
    pairs = long_tailed(100, seed, CaptionShares())
    clip = find_clip(str(folder / "model"), device="cpu")
    rng = np.random.default_rng([seed, 1])
    shares = np.sqrt(pairs.sizes) / np.sqrt(pairs.sizes).sum()
    pictures, named, shown = [], [], []
    for place, name in enumerate(pairs.names):
        files = sorted((folder / "test" / name).iterdir())
        for file in files[: max(1, round(len(files) * pairs.sizes[place] / pairs.sizes[0]))]:
            other = str(rng.choice(list(pairs.names), p=shares))
            said = write_caption(rng, name, other, CaptionShares())[1]
            pictures.append(clip.encode_images([decode_image(file.read_bytes())])[0])
            named.append([c in said for c in pairs.names])
            shown.append([c == name for c in pairs.names])
    return Data(
        name="CIFAR-100-LT, test photographs the model has not seen",
        images=np.stack(pictures),
        concepts=np.load(folder / "run" / "concept_vectors.npy", allow_pickle=False),
        named=np.array(named),
        shown=np.array(shown),
        fixed=DEFAULT_THRESHOLD,
        least=5,
    )


def flickr(vectors: str, listed: str) -> Data:
    """Read the Flickr8k pairs: a pair's caption is evidence, the photograph's other four truth."""
    real = Path(os.environ.get("CONCEPTAUDIT_REALDATA", "../shared/data")) / "clip"
    categories = pd.read_csv(real / "detic_text_embeddings" / f"{listed}_categories.csv")
    concepts = []
    for row in categories.to_dict("records"):
        aliases = str(row.get("synonyms", "")).replace("_", " ").split("|")
        names = dict.fromkeys(a.split("(")[0].strip() for a in aliases if a not in ("", "nan"))
        name = str(row["name"])
        concepts.append(Concept(name=name, aliases=tuple(a for a in names if a != name)))
    vocabulary = ConceptVocabulary(tuple(concepts))
    metadata = pd.read_parquet(real / "flickr8k_vitb32" / "metadata.parquet")
    with tempfile.TemporaryDirectory() as work:
        table = pd.DataFrame({"key": metadata.index.astype(str), "caption": metadata["caption"]})
        table.to_parquet(Path(work) / "captions.parquet")
        run = audit(
            Path(work) / "captions.parquet",
            vocabulary,
            Path(work) / "run",
            options=AuditOptions(workers=1),
        )
        said = np.zeros((len(metadata), len(vocabulary)), dtype=bool)
        for tags in text_tags(run.folder):
            said[tags["key"].astype(int), tags["concept_id"]] = True
    images = np.load(real / "flickr8k_vitb32" / "image_embeddings.npy", allow_pickle=False)
    shown = np.zeros_like(said)
    photographs = metadata.groupby("image_id", sort=False).ngroup().to_numpy()
    for rows in metadata.groupby("image_id", sort=False).indices.values():
        for row in rows:
            shown[row] = said[rows[rows != row]].any(axis=0)
    return Data(
        name=f"Flickr8k, {listed.upper()} names",
        images=unit_rows(images.astype(np.float32)),
        concepts=read_concept_vectors(real / "detic_text_embeddings" / vectors, len(vocabulary)),
        named=said,
        shown=shown,
        fixed=DEFAULT_THRESHOLD,
        least=10,
        photographs=photographs,
    )


def ways(data: Data, *, labels: bool = True) -> Iterator[Way]:
    """Decide and count in every way."""
    raw = data.images @ data.concepts.T
    tagging = contrast_vectors(data.concepts)
    contrast = data.images @ tagging.T
    z = (raw - raw.mean(axis=0)) / raw.std(axis=0)
    yield from fixed("one threshold", raw, data.fixed)
    for name, scores in (
        ("one threshold", raw),
        ("one distance from the concept's mean, in its standard deviations", z),
        ("one threshold, contrast with other concepts", contrast),
    ):
        cut = best_cut(data, scores)
        yield from fixed(f"{name}; best counts in hindsight", scores, cut)
    yield from fixed("one threshold; best F1 in hindsight", raw, best_f1(raw, data.shown))
    counts = data.named.sum(axis=0)
    yield Way(name="captions alone", scores=None, tags=data.named, counts=counts)
    moments = Moments.empty(tagging.shape[1]).with_images(data.images)
    scale = Scale.of_vectors(moments, tagging)
    standard = scale.standardise(contrast)
    by_caption = count_scores(standard, data.named)
    yield from calibrated(data, "scores", "calibrated, scores alone", scale, by_caption, contrast)
    yield from calibrated(data, "captions", "calibrated, captions", scale, by_caption, contrast)
    for k in LABELLED if labels else ():
        known = count_scores(*labelled(standard, data.shown, k))
        name = f"calibrated, {k} labelled images per concept"
        yield from calibrated(data, "labels", name, scale, by_caption, contrast, known)
    if labels:
        some = np.random.default_rng(1).random(len(standard)) < 0.25
        known = count_scores(standard[some], data.shown[some])
        name = "calibrated, a random quarter labelled"
        yield from calibrated(data, "labels", name, scale, by_caption, contrast, known)


def fixed(name: str, scores: np.ndarray, cut: float) -> Iterator[Way]:
    """Decide by one threshold."""
    tags = scores >= cut
    if "hindsight" not in name:
        name = f"{name}, {cut:g}"
    yield Way(name=name, scores=scores, tags=tags, counts=tags.sum(axis=0))


def best_cut(data: Data, scores: np.ndarray) -> float:
    """Find the one threshold with the smallest median count error, which only truth can tell."""
    true = data.shown.sum(axis=0)
    often = true >= data.least
    candidates = np.quantile(scores[:, often], 1 - np.geomspace(1e-4, 0.5, 200))
    errors = [
        np.median(
            np.abs(np.log(((scores[:, often] >= cut).sum(axis=0) + 0.5) / (true[often] + 0.5)))
        )
        for cut in candidates
    ]
    return float(candidates[int(np.argmin(errors))])


def labelled(scores: np.ndarray, shown: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Label up to k images of every concept, completely."""
    rng = np.random.default_rng(k)
    rows = [rng.permutation(np.flatnonzero(column))[:k] for column in shown.T]
    chosen = np.unique(np.concatenate(rows))
    return scores[chosen], shown[chosen]


def calibrated(
    data: Data,
    method: str,
    name: str,
    scale: Scale,
    by_caption: ScoreHistograms,
    contrast: np.ndarray,
    known: ScoreHistograms | None = None,
) -> Iterator[Way]:
    """Calibrate; count by tags and, where captions taught it, by correcting them."""
    n_concepts = data.shown.shape[1]
    vocabulary = ConceptVocabulary(tuple(Concept(name=str(c)) for c in range(n_concepts)))
    found = learn(
        method,
        by_caption,
        scale,
        vocabulary=vocabulary,
        vectors=data.concepts,
        labelled=known,
    )
    tags = contrast >= found.thresholds
    yield Way(name=f"{name}: tags", scores=contrast, tags=tags, counts=tags.sum(axis=0))
    if method != "captions":
        return
    both = (tags & data.named).sum(axis=0).astype(float)
    counted = Counted(
        n_samples=len(tags),
        image=tags.sum(axis=0).astype(float),
        text=data.named.sum(axis=0).astype(float),
        joint=both,
    )
    corrected = correct_counts(counted, found.rates)
    yield Way(
        name=f"{name}: corrected counts",
        scores=None,
        tags=None,
        counts=corrected["n_image_corrected"],
        interval=(corrected["n_image_corrected_low"], corrected["n_image_corrected_high"]),
        joint=tuple(corrected[f"n_joint_corrected{end}"] for end in ("", "_low", "_high")),
    )


def inside(low: np.ndarray, high: np.ndarray, true: np.ndarray) -> float:
    """Return the share of intervals that hold the truth."""
    return float(((low <= true) & (true <= high)).mean())


def measured(data: Data, way: Way) -> dict[str, float]:
    """Measure one way against the truth."""
    true = data.shown.sum(axis=0)
    often = true >= data.least
    ratio = np.abs(np.log((way.counts[often] + 0.5) / (true[often] + 0.5)))
    ranks = pd.Series(way.counts).rank().corr(pd.Series(true).rank())
    row = {
        "AP": np.nan,
        "F1": np.nan,
        "count error": float(np.exp(np.median(ratio)) - 1),
        "log error": float(np.median(ratio)),
        "within 10 %": float((np.abs(way.counts[often] / true[often] - 1) <= 0.1).mean()),
        "rank correlation": float(ranks),
        "coverage": np.nan,
        "joint error": np.nan,
        "joint coverage": np.nan,
    }
    if way.scores is not None:
        row["AP"] = float(np.nanmean(average_precision(way.scores, data.shown)[often]))
    if way.tags is not None:
        precision, recall = precision_recall(way.tags, data.shown)
        row["F1"] = 2 * precision * recall / max(precision + recall, 1e-12)
    if way.interval is not None:
        row["coverage"] = inside(way.interval[0][often], way.interval[1][often], true[often])
    if way.joint is not None:
        both = (data.shown & data.named).sum(axis=0)
        some = both >= data.least
        errors = np.abs(np.log((way.joint[0][some] + 0.5) / (both[some] + 0.5)))
        row["joint error"] = float(np.exp(np.median(errors)) - 1)
        row["joint coverage"] = inside(way.joint[1][some], way.joint[2][some], both[some])
    return row


def bootstrapped(data: Data) -> dict[str, list[float]]:
    """Repeat with photographs drawn with repetition: difference to the best single threshold."""
    rng = np.random.default_rng(0)
    which = np.zeros(0) if data.photographs is None else data.photographs
    of = [np.flatnonzero(which == photograph) for photograph in np.unique(which)]
    gains: dict[str, list[float]] = {}
    for _ in range(BOOTSTRAPS):
        drawn = data.rows(np.concatenate([of[k] for k in rng.integers(0, len(of), len(of))]))
        errors = {way.name: measured(drawn, way)["log error"] for way in ways(drawn, labels=False)}
        best = errors["one threshold; best counts in hindsight"]
        for name, error in errors.items():
            gains.setdefault(name, []).append(error - best)
    return {name: np.quantile(values, [0.05, 0.5, 0.95]).tolist() for name, values in gains.items()}


def show(title: str, rows: dict[str, dict[str, float]]) -> None:
    """Print one table as markdown."""
    columns = list(next(iter(rows.values())))
    print(f"\n**{title}**\n\n| | {' | '.join(columns)} |\n|---|{'--:|' * len(columns)}")
    for name, row in rows.items():
        cells = ["" if np.isnan(row[c]) else f"{row[c]:.3f}" for c in columns]
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    """Measure all data sets that were asked for."""
    arguments = parse()
    results: dict[str, object] = {"bench": "calibration"}
    with tempfile.TemporaryDirectory() as work:
        cache = arguments.cache or Path(work)
        seeds = [lab(seed, arguments.samples, cache) for seed in arguments.lab_seeds]
        per_seed = [{way.name: measured(data, way) for way in ways(data)} for data in seeds]
    if per_seed:
        means = {
            name: {
                column: float(np.mean([rows[name][column] for rows in per_seed]))
                for column in per_seed[0][name]
            }
            for name in per_seed[0]
        }
        results["lab"] = {"mean": means, "seeds": per_seed}
        show(f"lab, mean of seeds {arguments.lab_seeds}", means)
    others = []
    if arguments.cifar:
        others += [f(arguments.cifar, arguments.cifar_seed) for f in (cifar_seen, cifar_unseen)]
    if arguments.flickr:
        others.append(flickr("coco_clip_a+cname.npy", "coco"))
        others.append(flickr("lvis_v1_clip_a+cname.npy", "lvis"))
    for data in others:
        small = data.photographs is not None
        rows = {way.name: measured(data, way) for way in ways(data, labels=not small)}
        results[data.name] = rows
        show(f"{data.name}: {len(data.images):,} images", rows)
        if small:
            gains = bootstrapped(data)
            results[f"{data.name}, bootstrap"] = gains
            print("\nlog error minus that of the best single threshold (5, 50, 95 % of bootstraps)")
            for name, (low, middle, high) in gains.items():
                print(f"- {name}: {middle:+.2f} ({low:+.2f} to {high:+.2f})")
    print(f"\n{json.dumps(results)}")


if __name__ == "__main__":
    main()

"""What an audit found, measured against the simulator's truth; used by bench_truth.py."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.auditing import AuditRun
from conceptaudit.curves import fit_curve, predict
from conceptaudit.errors import FitError
from conceptaudit.image.vectors import unit_rows
from conceptaudit.lab import read_truth
from conceptaudit.options.audit import DEFAULT_THRESHOLD
from conceptaudit.records import ConceptAccuracies, ConceptFrequencies, ConceptVocabulary

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FREQUENT = 20
"""True occurrences from which a relative error of a count says something."""

SPLITS = 10
"""Random splits of the classes into fitted and held-out ones, per seed."""

HELD_OUT = 0.25
"""Share of the classes that a fit does not see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """The range in which a number is called good."""

    low: float = -np.inf
    high: float = np.inf

    def __str__(self) -> str:
        if np.isinf(self.high):
            return f"≥ {self.low:g}"
        return f"≤ {self.high:g}" if np.isinf(self.low) else f"{self.low:g} to {self.high:g}"

    def verdict(self, value: float) -> str:
        """Say good, BAD, or wide where an interval covers more than it promises."""
        if np.isnan(value):
            return "not measured"
        if self == INTERVAL and value > self.high:
            return "wide"
        return "good" if self.low <= round(value, 4) <= self.high else "BAD"


INTERVAL = Bar(low=0.87, high=0.93)
"""What the nominal 90 % may come out as."""

Found = tuple[str, str, float, Bar | None]
"""Part of the audit, what is measured, its value for one seed, and the bar for it."""


def at_least(low: float) -> Bar:
    """Return the bar of a number that should be high."""
    return Bar(low=low)


def at_most(high: float) -> Bar:
    """Return the bar of a number that should be low."""
    return Bar(high=high)


def incidence(
    lists: Sequence[Sequence[str]], vocabulary: ConceptVocabulary, rows: BoolArray
) -> BoolArray:
    """Turn lists of names into a table of shape (samples, concepts), empty where not in `rows`."""
    position = {name: column for column, name in enumerate(vocabulary.names)}
    table = np.zeros((len(lists), len(vocabulary)), dtype=bool)
    for row, names in enumerate(lists):
        table[row, [position[name] for name in names]] = rows[row]
    return table


def precision_recall(found: BoolArray, true: BoolArray) -> tuple[float, float]:
    """Return precision and recall over all (sample, concept) pairs."""
    hits = float((found & true).sum())
    n_found, n_true = float(found.sum()), float(true.sum())
    return (hits / n_found if n_found else np.nan, hits / n_true if n_true else np.nan)


def average_precision(scores: FloatArray, true: BoolArray) -> FloatArray:
    """Return each concept's average precision, NaN where it never occurs; shape (concepts,)."""
    order = np.argsort(-scores, axis=0, kind="stable")
    hits = np.take_along_axis(true, order, axis=0)
    ranks = np.arange(1, len(scores) + 1)[:, None]
    total = (np.cumsum(hits, axis=0) / ranks * hits).sum(axis=0)
    n = hits.sum(axis=0)
    return np.divide(total, n, out=np.full(len(n), np.nan), where=n > 0)


def best_f1(scores: FloatArray, true: BoolArray) -> float:
    """Return the one threshold with the best F1 over all pairs, known only with the truth."""
    order = np.argsort(-scores, axis=None, kind="stable")
    hits = np.cumsum(true.ravel()[order])
    f1 = 2 * hits / (np.arange(1, hits.size + 1) + hits[-1])
    return float(scores.ravel()[order[int(np.argmax(f1))]])


def best_count(scores: FloatArray, true: BoolArray) -> float:
    """Return the one threshold with the smallest count error, known only with the truth."""
    candidates = np.quantile(scores, 1 - np.geomspace(1e-4, 0.5, 120))
    counts = true.sum(axis=0)
    errors = [count_errors((scores >= cut).sum(axis=0), counts)[0] for cut in candidates]
    return float(candidates[int(np.argmin(errors))])


def count_errors(found: IntArray, true: IntArray) -> tuple[float, float]:
    """Return median |log10 ratio| and the share within 10 %, of concepts seen often enough."""
    often = true >= FREQUENT
    found, true = found[often].astype(float), true[often].astype(float)
    if not len(true):
        return np.nan, np.nan
    ratios = np.abs(np.log10((found + 0.5) / (true + 0.5)))
    return float(np.median(ratios)), float((np.abs(found / true - 1) <= 0.1 + 1e-9).mean())


def rank_correlation(found: npt.ArrayLike, true: npt.ArrayLike) -> float:
    """Return Spearman's rho over all concepts; NaN where one side is constant."""
    ranks = [pd.Series(np.asarray(side, dtype=float)).rank() for side in (found, true)]
    if any(side.nunique() < 2 for side in ranks):
        return np.nan
    return float(ranks[0].corr(ranks[1]))


def counted(part: str, found: IntArray, true: IntArray) -> Iterator[Found]:
    """Measure counts against true counts."""
    error, near = count_errors(found, true)
    yield part, "count error, median of abs(log10 ratio)", error, at_most(0.04)
    yield part, "counts within 10 %", near, at_least(0.9)
    absent = true == 0
    invented = float((found[absent] > 0).mean()) if absent.any() else np.nan
    yield part, "concepts that never occur but are counted", invented, at_most(0.1)
    rank = rank_correlation(found, true)
    yield part, "rank correlation with true counts", rank, at_least(0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """One audited dataset beside its truth; tables are of shape (samples, concepts)."""

    run: AuditRun
    vocabulary: ConceptVocabulary
    keys: pd.Index
    text: BoolArray
    image: BoolArray
    not_noun: BoolArray

    @classmethod
    def of(cls, run: AuditRun, data: Path, vocabulary: ConceptVocabulary) -> "Audited":
        """Read the truth of a dataset that was audited."""
        truth = read_truth(data)
        text_ok, image_ok = (truth[f"{side}_ok"].to_numpy(bool) for side in ("text", "image"))
        return cls(
            run=run,
            vocabulary=vocabulary,
            keys=pd.Index(truth["key"]),
            text=incidence(truth["text"], vocabulary, text_ok),
            image=incidence(truth["image"], vocabulary, image_ok),
            not_noun=incidence(truth["not_noun"], vocabulary, text_ok),
        )

    def tags(self, side: str) -> BoolArray:
        """Read the tags that the audit stored for one side."""
        found = np.zeros(self.text.shape, dtype=bool)
        for path in sorted((self.run.folder / side).glob("*.parquet")):
            if path.suffixes != [".parquet"]:  # drops and evidence
                continue
            table = pd.read_parquet(path)
            if "concept_id" in table:
                found[self.keys.get_indexer(table["key"]), table["concept_id"]] = True
        return found

    def scores(self) -> tuple[FloatArray, IntArray]:
        """Compute all similarities from the stored vectors; also return their images' rows."""
        folder = self.run.folder
        concepts = np.load(folder / "concept_vectors.npy", allow_pickle=False)
        parts, rows = [], []
        for path in sorted((folder / "embeddings").glob("*.npy")):
            keys = pd.read_parquet(path.with_suffix(".parquet"))["key"]
            vectors = np.load(path, allow_pickle=False).astype(np.float32)
            used = np.abs(vectors).sum(axis=1) > 0
            parts.append(unit_rows(vectors[used]) @ concepts.T)
            rows.append(self.keys.get_indexer(keys)[used])
        return np.concatenate(parts), np.concatenate(rows)


def text_part(audited: Audited) -> Iterator[Found]:
    """Measure text tags and counts."""
    found, true = audited.tags("text"), audited.text
    precision, recall = precision_recall(found, true)
    yield "text", "precision of tags", precision, at_least(0.95)
    yield "text", "recall of tags", recall, at_least(0.95)
    other = audited.not_noun
    wrong = float(found[other].mean()) if other.any() else np.nan
    yield "text", "verbs, colours and foreign words taken for the concept", wrong, at_most(0.1)
    yield from counted("text", audited.run.table["n_text"].to_numpy(int), true.sum(axis=0))


def image_part(audited: Audited, threshold: float) -> Iterator[Found]:
    """Measure image tags: as the audit made them, corrected, and at one threshold for all."""
    scores, rows = audited.scores()
    true = audited.image[rows]
    precisions = average_precision(scores, true)
    n = true.sum(axis=0)
    yield "image", "mean average precision, all concepts", np.nanmean(precisions), at_least(0.5)
    for name, low, high in (("50 or more", 50, np.inf), ("5 to 49", 5, 50), ("1 to 4", 1, 5)):
        value = precisions[(n >= low) & (n < high)]
        title = f"mean average precision, {name} true images"
        yield "image", title, float(value.mean()) if len(value) else np.nan, at_least(0.5)
    yield "image", "the same for random scores", float(true.mean()), None
    cuts = {
        **({} if threshold == DEFAULT_THRESHOLD else {"model's own threshold": threshold}),
        "tool's fixed threshold": DEFAULT_THRESHOLD,
        "best F1, chosen in hindsight": best_f1(scores, true),
        "best counts, chosen in hindsight": best_count(scores, true),
    }
    tables = {"as audited": audited.tags("image")[rows]}
    tables |= {name: scores >= cut for name, cut in cuts.items()}
    for name, found in tables.items():
        part = f"image, {name}"
        precision, recall = precision_recall(found, true)
        if name in cuts:
            yield part, "threshold", cuts[name], None
        yield part, "precision of tags", precision, at_least(0.8)
        yield part, "recall of tags", recall, at_least(0.8)
        yield from counted(part, found.sum(axis=0), n)
    if "n_image_corrected" in audited.run.table:
        corrected = audited.run.table["n_image_corrected"].round().to_numpy(int)
        yield from counted("image, corrected counts", corrected, n)


def joint_part(audited: Audited) -> Iterator[Found]:
    """Measure joint counts, misalignment, and whether intervals around counts hold the truth."""
    true = audited.text & audited.image
    found = audited.tags("text") & audited.tags("image")
    precision, recall = precision_recall(found, true)
    yield "joint", "precision of pairs", precision, at_least(0.8)
    yield "joint", "recall of pairs", recall, at_least(0.8)
    table = audited.run.table
    yield from counted("joint", table["n_joint"].to_numpy(int), true.sum(axis=0))
    if "n_joint_corrected" in table:
        corrected = table["n_joint_corrected"].round().to_numpy(int)
        yield from counted("joint, corrected counts", corrected, true.sum(axis=0))
    both = audited.text.any(axis=1) & audited.image.any(axis=1)
    share = float((both & ~true.any(axis=1)).sum() / both.sum())
    printed = audited.run.alignment.as_json()
    said = printed["misaligned_among_tagged"]
    said = np.nan if said is None else float(said)
    part = "misalignment among tagged"
    yield part, "true share", share, None
    yield part, "printed share", said, None
    yield part, "error of the share", abs(said - share), at_most(0.02)
    low, high = (printed[f"misaligned_among_tagged_{end}"] for end in ("low", "high"))
    yield part, "printed interval holds the true share", float(low <= share <= high), at_least(0.87)
    if audited.run.misalignment is not None:
        found = audited.run.misalignment
        said, part = found["nothing_named_is_shown"], "misalignment, corrected"
        yield part, "printed share", said, None
        yield part, "error of the share", abs(said - share), at_most(0.02)
        low, high = (found[f"nothing_named_is_shown_{end}"] for end in ("low", "high"))
        held = float(low <= share <= high)
        yield part, "printed interval holds the true share", held, at_least(0.87)
    sides = {"text": audited.text, "image": audited.image, "joint": true}
    sides |= {f"{side}_corrected": sides[side] for side in ("image", "joint")}
    for side, pairs in sides.items():
        if f"n_{side}_low" not in table:
            continue
        n = pairs.sum(axis=0)
        inside = (table[f"n_{side}_low"] <= n) & (n <= table[f"n_{side}_high"])
        yield (
            "true count of the same data lies in the printed interval",
            f"{side}, concepts with {FREQUENT} or more",
            float(inside[n >= FREQUENT].mean()),
            at_least(0.87),
        )


def prediction_part(
    run: AuditRun, accuracies: ConceptAccuracies, count: str, seed: int
) -> Iterator[Found]:
    """Measure predictions of classes that the fit has not seen, over random splits."""
    table = accuracies.table
    n_asked = round(HELD_OUT * len(table))
    results = []
    for split in range(SPLITS):
        rng = np.random.default_rng([seed, split])
        asked = np.isin(np.arange(len(table)), rng.permutation(len(table))[:n_asked])
        try:
            results.append(_held_out(run.frequencies, table, asked, count, split))
        except FitError:
            continue
    part = f"prediction from {count}"
    if not results:
        yield part, "could be fitted", 0.0, at_least(1)
        return
    error, naive, r2, coverage = np.mean(results, axis=0)
    p, n = table["accuracy"], table["n_images"].astype(float)
    noise = float((p * (1 - p) / (n - 1)).mean())
    yield part, "mean absolute error, held-out classes", error, at_most(0.1)
    yield part, "the same when the mean is predicted", naive, None
    yield part, "R2, held-out classes", r2, at_least(0.5)
    yield part, "highest R2 that the noise of so few test images allows", 1 - noise / p.var(), None
    yield part, "coverage of the prediction interval", coverage, INTERVAL


def _held_out(
    frequencies: ConceptFrequencies, table: pd.DataFrame, asked: BoolArray, count: str, seed: int
) -> tuple[float, float, float, float]:
    """Return mean error, that of predicting the mean, R2 and coverage for one split."""
    fitted = ConceptAccuracies(table[~asked].reset_index(drop=True))
    curve = fit_curve(frequencies, fitted, count=count, pretraining="all", seed=seed)
    rows = predict(curve, frequencies).set_index("concept").loc[table["concept"][asked]]
    observed = table["accuracy"][asked].to_numpy()
    mean = fitted.table["accuracy"].mean()
    residuals = observed - rows["accuracy"].to_numpy()
    spread = float(((observed - observed.mean()) ** 2).sum())
    return (
        float(np.abs(residuals).mean()),
        float(np.abs(observed - mean).mean()),
        float(1 - (residuals**2).sum() / spread) if spread else np.nan,
        float(((rows["low"] <= observed) & (observed <= rows["high"])).mean()),
    )

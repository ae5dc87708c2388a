"""A laboratory with real photographs: CIFAR-100-LT, captioned, learnt, audited, fitted.

    python scripts/benchmarks/lab_cifar.py --epochs 40 --threads 2

Draws the long-tailed subsample of CIFAR-100 from the folder that CONCEPTAUDIT_REALDATA names,
writes it with captions of known truth to a temporary folder, trains a small open_clip model on it
from scratch, audits the pairs with that model, evaluates it on the balanced test split, fits
accuracy against frequency, and compares all of it with the truth. Prints a table and one JSON line.
The same seed, length (not --minutes) and threads give the same numbers on one machine.
"""

import argparse
import json
import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pandas as pd
import torch
from lab_cifar_data import CaptionShares, Pairs, long_tailed, write_dataset, write_test_folders
from lab_cifar_train import PREPROCESS_CFG, decode_pixels, train_clip
from safetensors.torch import save_file

from conceptaudit.auditing import AuditOptions, AuditRun, audit
from conceptaudit.curves import fit_curve, predict
from conceptaudit.image.clip import ClipModel, find_clip
from conceptaudit.image.decode import decode_image
from conceptaudit.image.vectors import unit_rows
from conceptaudit.options.audit import DEFAULT_THRESHOLD
from conceptaudit.options.zeroshot import EvaluationOptions
from conceptaudit.records import (
    FREQUENCY_COLUMNS,
    Concept,
    ConceptAccuracies,
    ConceptFrequencies,
    ConceptVocabulary,
)
from conceptaudit.zeroshot.evaluate import evaluate
from conceptaudit.zeroshot.sets import open_evaluation_set

TEMPLATES = ("a photo of a {}", "{}", "picture of a {}", "an old photo of a {}")
MODEL_CFG: dict[str, Any] = {
    "embed_dim": 128,
    # open_clip's ResNet halves five times: 32-pixel photographs are enlarged to leave 2 × 2.
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16},
    "text_cfg": {
        "context_length": 24,
        "vocab_size": 49408,
        "width": 64,
        "heads": 4,
        "layers": 2,
    },
}
HELD_OUT = 0.25
SPLITS = 20


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=float, help="passes over the pairs (default 40; GPU 200)")
    length.add_argument("--steps", type=int, help="training steps, instead of epochs")
    length.add_argument("--minutes", type=float, help="as many steps as fit: not repeatable")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument("--imbalance", type=float, default=100.0)
    parser.add_argument("--silent", type=float, default=0.10, help="captions that name nothing")
    parser.add_argument("--extra", type=float, default=0.10, help="that name another class too")
    parser.add_argument("--test-images", type=int, default=100, help="per class, at most 100")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    length.add_argument("--model", type=Path, help="measure this model folder: no training")
    parser.add_argument("--keep", type=Path, help="new folder for data, model and runs")
    return parser.parse_args()


def full_batches(n: int, size: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Yield rows of full batches without end, every epoch in another order."""
    while True:
        order = torch.randperm(n, generator=generator)
        yield from order[: n // size * size].split(size)


def train(pairs: Pairs, arguments: argparse.Namespace) -> tuple[open_clip.CLIP, int, float]:
    """Train on all pairs for so many epochs, steps or minutes."""
    pixels = decode_pixels(pairs.table["image"])
    context = MODEL_CFG["text_cfg"]["context_length"]
    epochs = arguments.epochs or (40 if arguments.device == "cpu" else 200)
    steps = arguments.steps or round(epochs * len(pixels) / arguments.batch)
    start = time.perf_counter()

    def progress(step: int, losses: list[float]) -> float:
        spent = (time.perf_counter() - start) / 60
        done = spent / arguments.minutes if arguments.minutes else step / steps
        if step % 100 == 0:
            mean = sum(losses) / len(losses)
            print(f"step {step:,} ({done:.0%}) loss {mean:.3f} {spent:.1f} min", flush=True)
        return done

    generator = torch.Generator().manual_seed(arguments.seed)
    return train_clip(
        MODEL_CFG,
        pixels,
        open_clip.SimpleTokenizer(context_length=context)(pairs.table["caption"].tolist()),
        full_batches(len(pixels), arguments.batch, generator),
        progress=progress,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
        device=arguments.device,
    )


def save(model: open_clip.CLIP, folder: Path) -> Path:
    """Write the model as open_clip's ``local-dir`` scheme reads it."""
    folder.mkdir()
    weights = {name: value.contiguous().cpu() for name, value in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    settings = {"model_cfg": MODEL_CFG, "preprocess_cfg": PREPROCESS_CFG}
    (folder / "open_clip_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    return folder


def audited(
    pairs: Pairs, vocabulary: ConceptVocabulary, work: Path, clip: ClipModel
) -> tuple[AuditRun, "Scores", float, dict[str, float]]:
    """Audit at the default threshold, then again at the best one that hindsight knows."""
    data = write_dataset(pairs, work / "data")
    options = AuditOptions(
        clip=clip.name,
        device=clip.device,
        templates=TEMPLATES,
        threshold=DEFAULT_THRESHOLD,
        workers=1,
    )
    run = audit(data, vocabulary, work / "run", options=options)
    true = pairs.true_counts()
    at_default = count_error(run.table["n_image"], true["n_image"])
    seen = Scores.of_run(run, pairs)
    threshold = seen.best_threshold()
    options = replace(options, threshold=threshold)
    run = audit(data, vocabulary, work / "run", options=options, resume=True)
    errors = {"image_at_default": at_default}
    for column in FREQUENCY_COLUMNS:
        errors[column] = count_error(run.table[column], true[column])
    return run, seen, threshold, errors


def count_error(counted: Any, true: Any) -> float:
    """Median over classes of abs(log10(counted / true)), half a count added to both."""
    counted, true = np.asarray(counted, dtype=float), np.asarray(true, dtype=float)
    return float(np.median(np.abs(np.log10((counted + 0.5) / (true + 0.5)))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Cosine similarities of photographs and classes, and which class each photograph shows."""

    similarity: np.ndarray
    labels: np.ndarray

    @classmethod
    def of_run(cls, run: AuditRun, pairs: Pairs) -> "Scores":
        """Score the audited photographs from the embeddings that the audit stored."""
        stored = sorted((run.folder / "embeddings").glob("*.npy"))
        images = unit_rows(np.concatenate([np.load(file) for file in stored]).astype(np.float32))
        labels = pd.Index(pairs.names).get_indexer(pairs.table["label"])
        return cls(similarity=images @ concept_vectors(run).T, labels=labels)

    @classmethod
    def of_test(cls, folder: Path, run: AuditRun, pairs: Pairs, clip: ClipModel) -> "Scores":
        """Score the photographs of the test split, which the model has not seen."""
        images, labels = [], []
        for place, name in enumerate(pairs.names):
            files = sorted((folder / name).iterdir())
            images.append(clip.encode_images([decode_image(f.read_bytes()) for f in files]))
            labels.append(np.full(len(files), place))
        similarity = np.concatenate(images) @ concept_vectors(run).T
        return cls(similarity=similarity, labels=np.concatenate(labels))

    def long_tailed(self, factor: float) -> "Scores":
        """Keep the first photographs of each class, so that the counts follow the same law."""
        n_classes = self.similarity.shape[1]
        most = int(np.bincount(self.labels).max())
        sizes = np.maximum(1, most * factor ** (-np.arange(n_classes) / (n_classes - 1)))
        rows = [np.flatnonzero(self.labels == c)[: int(k)] for c, k in enumerate(sizes)]
        kept = np.concatenate(rows)
        return Scores(similarity=self.similarity[kept], labels=self.labels[kept])

    def error_at(self, threshold: float) -> float:
        """Count error of tags at or above the threshold."""
        counted = (self.similarity >= threshold).sum(axis=0)
        return count_error(counted, np.bincount(self.labels, minlength=len(counted)))

    def best_threshold(self) -> float:
        """Find the one threshold with the smallest count error, which only truth can tell."""
        shares = 1 - np.geomspace(1e-4, 0.5, 400)
        candidates = np.unique(np.quantile(self.similarity, shares).round(4))
        return float(min(candidates, key=self.error_at))

    def average_precisions(self) -> np.ndarray:
        """Average precision of every class's tags over all thresholds, shape (n_classes,)."""
        order = np.argsort(-self.similarity, axis=0, kind="stable")
        right = self.labels[order] == np.arange(self.similarity.shape[1])
        precision = np.cumsum(right, axis=0) / np.arange(1, len(right) + 1)[:, None]
        return np.asarray((precision * right).sum(axis=0) / right.sum(axis=0))


def concept_vectors(run: AuditRun) -> np.ndarray:
    """Read the class vectors that the audit used, float32 (n_classes, dimension)."""
    return np.asarray(np.load(run.folder / "concept_vectors.npy"), dtype=np.float32)


def held_out(
    frequencies: ConceptFrequencies, accuracies: ConceptAccuracies, count: str, seed: int
) -> dict[str, float]:
    """Predict random quarters of the classes from the others: MAE, R2, coverage of 90 % intervals.

    R2 compares with the mean accuracy of the fitted classes as the prediction.
    """
    table, counts = accuracies.table, frequencies.table
    names = sorted(table["concept"])
    parts = []
    for split in range(SPLITS):
        rng = np.random.default_rng([seed, split])
        held = set(rng.choice(names, size=round(HELD_OUT * len(names)), replace=False).tolist())
        known = table[~table["concept"].isin(held)].reset_index(drop=True)
        curve = fit_curve(frequencies, ConceptAccuracies(known), count=count, pretraining="all")
        asked = counts[counts["concept"].isin(held)].reset_index(drop=True)
        rows = predict(curve, ConceptFrequencies(asked, source=frequencies.source))
        observed = rows["concept"].map(table.set_index("concept")["accuracy"]).astype(float)
        parts.append(rows.assign(observed=observed, mean=known["accuracy"].mean()))
    rows = pd.concat(parts, ignore_index=True)
    error = rows["accuracy"] - rows["observed"]
    plain = rows["mean"] - rows["observed"]
    return {
        "mae": float(error.abs().mean()),
        "mae_of_mean": float(plain.abs().mean()),
        "r2": float(1 - (error**2).sum() / (plain**2).sum()),
        "coverage": float(rows["observed"].between(rows["low"], rows["high"]).mean()),
    }


def fits(run: AuditRun, pairs: Pairs, accuracies: ConceptAccuracies, seed: int) -> pd.DataFrame:
    """Fit and predict from the true number of matching pairs and from each audited count."""
    truth = ConceptFrequencies(pairs.true_counts(), source="truth")
    sources = {"true pairs": (truth, "n_joint")}
    sources |= {f"audited {column}": (run.frequencies, column) for column in FREQUENCY_COLUMNS}
    rows = []
    for name, (frequencies, count) in sources.items():
        line = fit_curve(frequencies, accuracies, count=count, pretraining="all").fits[0].line
        shown = ("slope", "slope_low", "slope_high", "r", "r_low", "r_high", "rho")
        numbers = {field: getattr(line, field) for field in shown}
        rows.append({"count": name, **numbers, **held_out(frequencies, accuracies, count, seed)})
    return pd.DataFrame(rows)


def measure(
    pairs: Pairs, folder: Path, work: Path, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Audit, evaluate and fit with the model in `folder`; print tables, return all numbers."""
    device = "cuda:0" if arguments.device == "cuda" else arguments.device
    clip = find_clip(str(folder), device=device)
    vocabulary = ConceptVocabulary(tuple(Concept(name=name) for name in pairs.names))
    run, seen, threshold, errors = audited(pairs, vocabulary, work, clip)
    tests = write_test_folders(work / "test", arguments.test_images, arguments.seed)
    opened = open_evaluation_set(
        tests, name="cifar100", class_names=vocabulary.names, templates=TEMPLATES
    )
    accuracies = evaluate(
        opened,
        [clip],
        work / "evaluation",
        options=EvaluationOptions(pretraining="cifar100-lt"),
        workers=1,
    ).accuracies
    unseen = Scores.of_test(tests, run, pairs, clip)
    tail = unseen.long_tailed(arguments.imbalance)
    accuracy = accuracies.table.set_index("concept")["accuracy"].reindex(pairs.names).to_numpy()
    columns = {
        "accuracy": accuracy,
        "AP seen": seen.average_precisions(),
        "AP unseen": unseen.average_precisions(),
        "AP unseen long-tailed": tail.average_precisions(),
    }
    groups, table = pairs.by_group(columns), fits(run, pairs, accuracies, arguments.seed)
    errors["image_unseen_long_tailed"] = tail.error_at(tail.best_threshold())
    errors["image_unseen_at_audit_threshold"] = tail.error_at(threshold)
    for part in (groups, table):
        print(f"\n{part.to_string(float_format='{:.3f}'.format)}")
    print(f"\ncount errors, median |log10(counted / true)|; best threshold {threshold:g}")
    print("\n".join(f"  {name:32} {value:.3f}" for name, value in errors.items()))
    return {
        "groups": groups.round(4).to_dict("index"),
        "fits": table.round(4).to_dict("records"),
        "threshold": {"default": DEFAULT_THRESHOLD, "best": threshold},
        "count_error": {name: round(value, 4) for name, value in errors.items()},
    }


def work_in(work: Path, arguments: argparse.Namespace) -> None:
    """Do everything in one folder and print the JSON line."""
    shares = CaptionShares(silent=arguments.silent, extra=arguments.extra)
    pairs = long_tailed(arguments.imbalance, arguments.seed, shares)
    begun = time.perf_counter()
    folder, steps, loss = arguments.model, 0, math.nan
    if folder is None:
        model, steps, loss = train(pairs, arguments)
        folder = save(model, work / "model")
    minutes = (time.perf_counter() - begun) / 60
    result = measure(pairs, folder, work, arguments)
    about = {
        "bench": "lab_cifar",
        "seed": arguments.seed,
        "pairs": len(pairs.table),
        "steps": steps,
        "batch": arguments.batch,
        "epochs": round(steps * arguments.batch / len(pairs.table), 1),
        "device": arguments.device,
        "threads": arguments.threads,
        "minutes_training": round(minutes, 1),
        "minutes_rest": round((time.perf_counter() - begun) / 60 - minutes, 1),
        "loss": round(loss, 3) if steps else None,
        "templates": list(TEMPLATES),
    }
    print(f"\n{json.dumps(about | result)}")


def main() -> None:
    """Set up torch, the device and the folder."""
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    if arguments.keep:
        arguments.keep.mkdir(parents=True)
        work_in(arguments.keep, arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        work_in(Path(folder), arguments)


if __name__ == "__main__":
    main()

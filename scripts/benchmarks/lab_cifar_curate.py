"""Does curation help? CIFAR-100-LT trained for real on what `conceptaudit curate` makes of it.

    python scripts/benchmarks/lab_cifar_curate.py --steps 600 --seeds 3

For every seed: draws the long-tailed subsample of CIFAR-100 with captions (`lab_cifar_data.py`),
repeats a tenth of the photographs under other captions, as the web does, trains a small open_clip
model on all of it ("raw"), audits the captions, fits a curve on the raw model's accuracies, curates
the data in several ways, predicts what each would do, and trains again on each: same model, same
steps, same batches. Embeddings for the density are the raw model's own. Prints accuracies of head,
middle and tail classes beside what the curve had predicted, and one JSON line per seed and arm.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pandas as pd
import torch
from lab_cifar import TEMPLATES
from lab_cifar_data import CaptionShares, Pairs, data_folder, long_tailed, write_caption
from lab_cifar_train import Augment, decode_pixels, train_clip

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.curate import CurateOptions, curate
from conceptaudit.curves import fit_curve
from conceptaudit.records import Concept, ConceptAccuracies, ConceptVocabulary

COPIES = 0.1
CONTEXT = 16
SMALL: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 16},
    "text_cfg": {"context_length": CONTEXT, "width": 64, "heads": 4, "layers": 1},
}
"""A quarter of the pixels and half the text model of `lab_cifar.py`, so that 18 trainings fit in an
hour of one processor."""

ARMS: dict[str, dict[str, Any]] = {
    "random": {},  # as many as the cap leaves
    "cap": {"cap": 50.0},
    "temper": {"temper": 0.5},
    "density": {"density": True},
    "drop-copies": {"drop_copies": True},
}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument("--imbalance", type=float, default=100.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


def with_copies(pairs: Pairs, seed: int) -> Pairs:
    """Repeat a tenth of the photographs, each with a caption of its own."""
    rng = np.random.default_rng([seed, 1])
    rows = rng.choice(len(pairs.table), size=round(COPIES * len(pairs.table)), replace=False)
    copies = pairs.table.iloc[rows].copy()
    shares = CaptionShares()
    others = rng.choice(list(pairs.names), size=len(copies))
    written = [
        write_caption(rng, label, str(other), shares)
        for label, other in zip(copies["label"], others, strict=True)
    ]
    copies["caption"] = [text for text, _ in written]
    copies["named"] = [named for _, named in written]
    copies["key"] = [f"9{i:08d}" for i in range(len(copies))]
    table = pd.concat([pairs.table, copies], ignore_index=True)
    return Pairs(table=table, names=pairs.names, sizes=pairs.sizes)


class Words:
    """Tokens in a vocabulary of those that occur, whose order is kept: the last is the end."""

    def __init__(self, texts: list[str]) -> None:
        self.tokenizer = open_clip.SimpleTokenizer(context_length=CONTEXT)
        self.known = torch.unique(self.tokenizer(texts))

    def __call__(self, texts: list[str]) -> torch.Tensor:
        """Tokenize, int64 (n, context)."""
        return torch.searchsorted(self.known, self.tokenizer(texts))


def train(
    pairs: Pairs,
    pixels: torch.Tensor,
    words: Words,
    weights: np.ndarray,
    arguments: argparse.Namespace,
    seed: int,
) -> open_clip.CLIP:
    """Train from scratch on photographs drawn by weight; a weight of 0 is never drawn."""
    chances = torch.from_numpy(weights / weights.sum())
    generator = torch.Generator().manual_seed(seed)

    def batches() -> Iterator[torch.Tensor]:
        while True:
            yield torch.multinomial(chances, arguments.batch, generator=generator)

    model, _, _ = train_clip(
        {**SMALL, "text_cfg": {**SMALL["text_cfg"], "vocab_size": len(words.known)}},
        pixels,
        words(pairs.table["caption"].tolist()),
        batches(),
        progress=lambda step, _: step / arguments.steps,
        learning_rate=arguments.learning_rate,
        seed=seed,
        device=arguments.device,
    )
    return model


@torch.no_grad()
def encode(model: open_clip.CLIP, pixels: torch.Tensor, device: str) -> np.ndarray:
    """Embed photographs as they are, float32 unit vectors (n, dimension)."""
    augment = Augment(0, device, SMALL["vision_cfg"]["image_size"])
    parts = []
    for block in pixels.split(500):
        batch = block.float().to(device)
        batch = (batch - augment.mean) / augment.std
        parts.append(model.encode_image(batch, normalize=True).float().cpu())
    return torch.cat(parts).numpy()


@torch.no_grad()
def class_accuracies(
    model: open_clip.CLIP,
    words: Words,
    names: tuple[str, ...],
    tests: tuple[torch.Tensor, np.ndarray],
    device: str,
) -> np.ndarray:
    """Right answers per class on the balanced test photographs, zero-shot."""
    prompts = [template.format(name) for name in names for template in TEMPLATES]
    text = model.encode_text(words(prompts).to(device), normalize=True).float().cpu().numpy()
    means = text.reshape(len(names), len(TEMPLATES), -1).mean(axis=1)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    pixels, labels = tests
    guesses = (encode(model, pixels, device) @ means.T).argmax(axis=1)
    return np.bincount(labels[guesses == labels], minlength=len(names))


def test_photographs(names: tuple[str, ...]) -> tuple[torch.Tensor, np.ndarray]:
    """Decode the test split: pixels and positions of the classes."""
    table = pd.read_parquet(data_folder() / "test.parquet", columns=["image", "label"])
    return decode_pixels(table["image"]), pd.Index(names).get_indexer(table["label"])


def write_embedded(pairs: Pairs, vectors: np.ndarray, folder: Path) -> Path:
    """Write pairs and embeddings as clip-retrieval would."""
    (folder / "img_emb").mkdir(parents=True)
    (folder / "metadata").mkdir()
    # the same file has the same embedding, whatever batch it was in
    first = pairs.table["image"].map(
        pd.Series(range(len(pairs.table)), pairs.table["image"]).groupby(level=0).first()
    )
    np.save(folder / "img_emb" / "img_emb_0.npy", vectors[first.to_numpy()].astype(np.float32))
    table = pairs.table[["key", "caption"]].rename(columns={"key": "image_path"})
    table.to_parquet(folder / "metadata" / "metadata_0.parquet", index=False)
    return folder


def by_group(pairs: Pairs, prefix: str, values: np.ndarray) -> dict[str, float]:
    """Average a value per class over head, middle, tail and all classes."""
    means = pairs.by_group({"value": values})["value"]
    return {f"{prefix} {group}": float(mean) for group, mean in means.items()}


def run_seed(seed: int, arguments: argparse.Namespace, work: Path) -> list[dict[str, Any]]:
    """Train all arms of one seed."""
    begun = time.perf_counter()
    pairs = with_copies(long_tailed(arguments.imbalance, seed, CaptionShares()), seed)
    pixels, tests = decode_pixels(pairs.table["image"]), test_photographs(pairs.names)
    names, per_class = pairs.names, 100
    prompts = [template.format(name) for name in names for template in TEMPLATES]
    words = Words([*pairs.table["caption"], *prompts])

    def measured(weights: np.ndarray) -> tuple[np.ndarray, open_clip.CLIP]:
        model = train(pairs, pixels, words, weights, arguments, seed)
        return class_accuracies(model, words, names, tests, arguments.device), model

    def line(arm: str, right: np.ndarray, more: dict[str, Any]) -> dict[str, Any]:
        row = {"seed": seed, "arm": arm, "minutes": (time.perf_counter() - begun) / 60}
        row |= by_group(pairs, "measured", right / per_class)
        print(json.dumps(row | more), flush=True)
        return row | more

    right, raw = measured(np.ones(len(pairs.table)))
    vectors = encode(raw, pixels, arguments.device)
    vocabulary = ConceptVocabulary(tuple(Concept(name=name) for name in names))
    data = write_embedded(pairs, vectors, work / "data")
    options = AuditOptions(near_duplicates="exact", workers=1)
    run = audit(data, vocabulary, work / "run", options=options)
    scores = pd.DataFrame(
        {
            "model": "lab",
            "pretraining": "raw",
            "dataset": "cifar100",
            "concept": list(names),
            "n_correct": right,
            "n_images": per_class,
            "accuracy": right / per_class,
            "metric": "acc1",
        }
    )
    accuracies = ConceptAccuracies(scores.astype({"n_correct": "Int64", "n_images": "Int64"}))
    curve = fit_curve(run.frequencies, accuracies, count="text", pretraining="raw")
    rows = [line("raw", right, {"n": len(pairs.table)})]
    size = None
    for arm in ("cap", *[name for name in ARMS if name != "cap"]):
        asked = ARMS[arm] if arm != "random" else {"size": size}
        made = curate(
            [run.folder],
            work / arm,
            options=CurateOptions(seed=seed, **asked),
            curve=curve,
            workers=1,
        )
        kept = pd.read_parquet(work / arm / "kept.parquet").set_index("key")["weight"]
        size = len(kept) if arm == "cap" else size
        weights = kept.reindex(pairs.table["key"]).fillna(0.0).to_numpy()
        right, _ = measured(weights)
        classes = made.prediction.classes.set_index("concept").reindex(list(names))
        predicted = by_group(pairs, "predicted", classes["accuracy_after"].to_numpy())
        rows.append(line(arm, right, {"n": len(kept), **predicted}))
    return rows


def main() -> None:
    """Run all seeds and print the table."""
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    rows = []
    for seed in range(1, arguments.seeds + 1):
        with tempfile.TemporaryDirectory() as folder:
            rows += run_seed(seed, arguments, Path(folder))
    table = pd.DataFrame(rows).drop(columns=["seed", "minutes"])
    grouped = table.groupby("arm", sort=False)
    shown = grouped.mean().join(grouped[["measured all"]].std().rename(columns=lambda c: f"sd {c}"))
    print(f"\n{shown.to_string(float_format='{:.3f}'.format)}")


if __name__ == "__main__":
    main()

"""Train the small open_clip model that is shipped with the lab.

The model, its loss, tokenizer and preprocessing are open_clip's own. It sees lab scenes whose
concepts follow Zipf's law, so it knows the head of the law well and its tail poorly. One run:

    python scripts/training/train_lab_clip.py --out conceptaudit/lab/models/lab-clip

takes under an hour on two CPU cores and a few minutes on a GPU. Where other programs use the
same cores, OMP_WAIT_POLICY=PASSIVE keeps the threads from waiting busily. It writes
``open_clip_config.json``, ``open_clip_model.safetensors`` (float16), ``metrics.json`` and
``README.md``. The same seed, machine and number of threads give the same weights.
"""

import argparse
import io
import json
import math
import multiprocessing
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file

from conceptaudit.lab import LabConfig, lab_vocabulary
from conceptaudit.lab.folders import draw_test_picture
from conceptaudit.lab.samples import make_sample

TEMPLATES = ("a photo of a {}", "{}", "picture of a {}", "a {} on a white background")
BANDS = {
    "10 most frequent": (0, 10),
    "20 most frequent": (0, 20),
    "head (first tenth)": (0, 45),
    "middle (to the half)": (45, 224),
    "tail (the other half)": (224, 428),
}
"""Ranks in the frequency law, from 0, with the name under which they are reported."""
TAGGED_SCENES = 2_000
"""Fresh scenes on which the tagging threshold is found."""
MODEL_CFG: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 64, "layers": [1, 2, 2, 1], "width": 16},
    "text_cfg": {
        "context_length": 32,
        "vocab_size": 49408,
        "width": 64,
        "heads": 4,
        "layers": 2,
    },
}
PREPROCESS_CFG = {
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    parser.add_argument("--samples", type=int, default=100_000, help="training pairs")
    parser.add_argument("--seed", type=int, default=20_240_404, help="of data and weights")
    parser.add_argument("--zipf-exponent", type=float, default=1.2)
    parser.add_argument("--zero-concepts", type=int, default=20, help="never seen in training")
    parser.add_argument("--steps", type=int, default=2_200)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--test-images", type=int, default=50, help="per concept")
    parser.add_argument("--cache", type=Path, help="keep the drawn training pictures here")
    return parser.parse_args()


def shrink(content: bytes) -> np.ndarray:
    """Decode and resize as the model's own preprocessing does, but keep bytes."""
    side = MODEL_CFG["vision_cfg"]["image_size"]
    with Image.open(io.BytesIO(content)) as picture:
        small = picture.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(small)


def training_pair(config: LabConfig, index: int) -> tuple[np.ndarray, str, tuple[str, ...]]:
    """Draw one pair: pixels, caption, and the concepts that both show."""
    content, truth = make_sample(config, index)
    return shrink(content or b""), truth.caption, truth.joint


def test_pixels(config: LabConfig, job: tuple[str, int]) -> np.ndarray:
    """Draw one test picture."""
    return shrink(draw_test_picture(config, *job))


def training_data(
    config: LabConfig, arguments: argparse.Namespace
) -> tuple[torch.Tensor, list[str], dict[str, int]]:
    """Draw all training pairs; count in how many each concept is both shown and named."""
    cache = arguments.cache and arguments.cache / "pairs.npz"
    if cache and cache.is_file():
        stored = np.load(cache, allow_pickle=False)
        if str(stored["config"]) == config.to_json():
            counts = json.loads(str(stored["counts"]))
            return torch.from_numpy(stored["pixels"]), stored["captions"].tolist(), counts
    side = MODEL_CFG["vision_cfg"]["image_size"]
    pixels = np.empty((config.n_samples, side, side, 3), dtype=np.uint8)
    captions: list[str] = []
    counts = dict.fromkeys(lab_vocabulary(config).names, 0)
    start = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(arguments.threads) as pool:
        pairs = pool.imap(partial(training_pair, config), range(config.n_samples), chunksize=200)
        for index, (drawn, caption, names) in enumerate(pairs):
            pixels[index] = drawn
            captions.append(caption)
            for name in names:
                counts[name] += 1
            if (index + 1) % 10_000 == 0:
                rate = (index + 1) / (time.perf_counter() - start)
                print(f"drawn {index + 1:,} pairs, {rate:.0f}/s", flush=True)
    if cache:
        cache.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            cache,
            pixels=pixels,
            captions=np.array(captions),
            counts=json.dumps(counts),
            config=config.to_json(),
        )
    return torch.from_numpy(pixels), captions, counts


class Normalise:
    """Bytes (n, side, side, 3) to what the vision tower takes, float32 (n, 3, side, side)."""

    def __init__(self, device: torch.device) -> None:
        self.mean = torch.tensor(PREPROCESS_CFG["mean"], device=device).view(1, 3, 1, 1) * 255
        self.std = torch.tensor(PREPROCESS_CFG["std"], device=device).view(1, 3, 1, 1) * 255

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalise one batch."""
        return (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std


def learning_rate(step: int, arguments: argparse.Namespace) -> float:
    """Warm up over the first twentieth of the steps, then follow half a cosine to zero."""
    warm = arguments.steps // 20 + 1
    if step < warm:
        return float(arguments.learning_rate * (step + 1) / warm)
    share = (step - warm) / max(1, arguments.steps - warm)
    return float(arguments.learning_rate * 0.5 * (1 + math.cos(math.pi * share)))


def train(
    model: open_clip.CLIP,
    pixels: torch.Tensor,
    tokens: torch.Tensor,
    arguments: argparse.Namespace,
    device: torch.device,
) -> list[tuple[int, float]]:
    """Train in place; return the loss, averaged over every hundred steps."""
    generator = torch.Generator().manual_seed(arguments.seed)
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    other = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": other, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-6)
    loss_of = open_clip.ClipLoss()
    normalise = Normalise(device)
    half = torch.autocast(device.type, torch.bfloat16)
    history, recent, start = [], [], time.perf_counter()
    order = torch.empty(0, dtype=torch.int64)
    model.train()
    for step in range(arguments.steps):
        if len(order) < arguments.batch:
            order = torch.randperm(len(pixels), generator=generator)
        chosen, order = order[: arguments.batch], order[arguments.batch :]
        batch = normalise(pixels[chosen].to(device))
        # A few pixels' shift keeps the small model from learning pictures by heart.
        down, right = torch.randint(-4, 5, (2,), generator=generator).tolist()
        batch = torch.roll(batch, (down, right), dims=(2, 3))
        batch = batch.contiguous(memory_format=torch.channels_last)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, arguments)
        with half:
            image = model.encode_image(batch, normalize=True)
        # The text tower is too small to gain from half precision.
        text = model.encode_text(tokens[chosen].to(device), normalize=True)
        loss = loss_of(image.float(), text, model.logit_scale.exp())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        recent.append(loss.item())
        if (step + 1) % 100 == 0 or step + 1 == arguments.steps:
            history.append((step + 1, sum(recent) / len(recent)))
            minutes = (time.perf_counter() - start) / 60
            print(f"step {step + 1:,} loss {history[-1][1]:.3f} {minutes:.1f} min", flush=True)
            recent = []
    return history


@torch.no_grad()
def concept_vectors(
    model: open_clip.CLIP,
    tokenizer: open_clip.SimpleTokenizer,
    names: tuple[str, ...],
    device: torch.device,
) -> torch.Tensor:
    """Average the templates' text vectors; float32, shape (n_concepts, dimension), unit length."""
    prompts = tokenizer([template.format(name) for name in names for template in TEMPLATES])
    vectors = model.encode_text(prompts.to(device), normalize=True)
    vectors = vectors.view(len(names), len(TEMPLATES), -1).mean(dim=1)
    return torch.nn.functional.normalize(vectors, dim=-1)


@torch.no_grad()
def balanced_threshold(
    model: open_clip.CLIP, vectors: torch.Tensor, config: LabConfig, device: torch.device
) -> float:
    """Find the one similarity at which all tags together are as precise as they are complete.

    At that threshold as many (scene, concept) pairs are tagged as are true.
    """
    model.eval()
    names = lab_vocabulary(config).names
    normalise, scores, n_true = Normalise(device), [], 0
    for start in range(0, TAGGED_SCENES, 200):
        samples = [make_sample(config, index) for index in range(start, start + 200)]
        n_true += sum(len(set(truth.image) & set(names)) for _, truth in samples)
        pixels = np.stack([shrink(content or b"") for content, _ in samples])
        batch = normalise(torch.from_numpy(pixels).to(device))
        scores.append(model.encode_image(batch, normalize=True) @ vectors.T)
    return float(torch.cat(scores).flatten().topk(n_true).values[-1])


@torch.no_grad()
def evaluate(
    model: open_clip.CLIP,
    vectors: torch.Tensor,
    config: LabConfig,
    arguments: argparse.Namespace,
    device: torch.device,
) -> dict[str, int]:
    """Classify the balanced test set among all concepts; count what is right per concept."""
    model.eval()
    names = lab_vocabulary(config).names
    jobs = [(name, number) for name in names for number in range(arguments.test_images)]
    with multiprocessing.get_context("spawn").Pool(arguments.threads) as pool:
        drawn = np.stack(pool.map(partial(test_pixels, config), jobs, chunksize=200))
    normalise = Normalise(device)
    right = dict.fromkeys(names, 0)
    for start in range(0, len(jobs), 500):
        batch = normalise(torch.from_numpy(drawn[start : start + 500]).to(device))
        images = torch.nn.functional.normalize(model.encode_image(batch), dim=-1)
        guesses = (images @ vectors.T).argmax(dim=1).tolist()
        for (name, _), guess in zip(jobs[start : start + 500], guesses, strict=True):
            right[name] += names[guess] == name
    return right


def save(model: torch.nn.Module, folder: Path) -> None:
    """Write the model as open_clip's ``local-dir`` scheme reads it, weights in float16."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: (value.half() if value.is_floating_point() else value).contiguous().cpu()
        for name, value in model.state_dict().items()
    }
    target = folder / "open_clip_model.safetensors"
    save_file(weights, target)
    target.chmod(0o644)  # safetensors makes files that only their owner can read
    settings = {"model_cfg": MODEL_CFG, "preprocess_cfg": PREPROCESS_CFG}
    (folder / "open_clip_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def main() -> None:
    """Draw, train, save, evaluate what was saved, and write it down."""
    arguments = parse()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = LabConfig(
        seed=arguments.seed,
        n_samples=arguments.samples,
        zipf_exponent=arguments.zipf_exponent,
        zero_concepts=arguments.zero_concepts,
    )
    pixels, captions, counts = training_data(config, arguments)
    drawn = time.perf_counter()
    context = MODEL_CFG["text_cfg"]["context_length"]
    tokenizer = open_clip.SimpleTokenizer(context_length=context)
    tokens = tokenizer(captions)
    # Channels last makes the narrow convolutions of this model twice as fast on a CPU.
    model = open_clip.CLIP(**MODEL_CFG).to(device, memory_format=torch.channels_last)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters on {device}", flush=True)
    history = train(model, pixels, tokens, arguments, device)
    trained = time.perf_counter()
    save(model, arguments.out)
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{arguments.out}")
    test = LabConfig(seed=arguments.seed + 1, zero_concepts=arguments.zero_concepts)
    model = model.to(device)
    vectors = concept_vectors(model, tokenizer, lab_vocabulary(config).names, device)
    right = evaluate(model, vectors, test, arguments, device)
    scenes = replace(config, seed=arguments.seed + 2)
    n = arguments.test_images
    names = lab_vocabulary(config).names
    run = {
        "steps": arguments.steps,
        "batch": arguments.batch,
        "learning_rate": arguments.learning_rate,
        "device": device.type,
        "minutes_training": round((trained - drawn) / 60, 1),
        "torch": torch.__version__,
        "open_clip": open_clip.__version__,
        "loss": [[step, round(loss, 4)] for step, loss in history],
        "test_set": {"seed": test.seed, "images_per_concept": n},
        "templates": list(TEMPLATES),
        "threshold": round(balanced_threshold(model, vectors, scenes, device), 4),
    }
    concepts = [
        {"concept": name, "n_joint": counts[name], "n_correct": right[name], "n_images": n}
        for name in names
    ]
    write_down(arguments.out, config, run, concepts)


def write_down(
    folder: Path, config: LabConfig, run: dict[str, Any], concepts: list[dict[str, Any]]
) -> None:
    """Write ``metrics.json`` and ``README.md`` beside the weights."""
    ranked = [row["n_correct"] / row["n_images"] for row in concepts]
    bands = {band: float(np.mean(ranked[low:high])) for band, (low, high) in BANDS.items()}
    unseen = [share for share, row in zip(ranked, concepts, strict=True) if row["n_joint"] == 0]
    bands |= {"never seen": float(np.mean(unseen))} if unseen else {}
    metrics = {
        "training_data": asdict(config),
        **run,
        "top1_by_training_frequency": {band: round(value, 4) for band, value in bands.items()},
        "top1": round(float(np.mean(ranked)), 4),
        "concepts": concepts,
    }
    lists = {name: metrics.pop(name) for name in ("loss", "concepts")}
    text = json.dumps(metrics, indent=1, ensure_ascii=False).removesuffix("\n}")
    for name, rows_of_list in lists.items():  # one row per line: short enough to read
        lines = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in rows_of_list)
        text += f',\n "{name}": [\n{lines}\n ]'
    text += "\n}\n"
    (folder / "metrics.json").write_text(text, encoding="utf-8")
    rows = "\n".join(f"| {band} | {value:.1%} |" for band, value in bands.items())
    (folder / "README.md").write_text(
        README.format(
            samples=config.n_samples,
            seed=config.seed,
            exponent=config.zipf_exponent,
            zero=config.zero_concepts,
            steps=run["steps"],
            batch=run["batch"],
            loss=run["loss"][-1][1],
            minutes=run["minutes_training"],
            device=run["device"],
            n=run["test_set"]["images_per_concept"],
            concepts=len(ranked),
            rows=rows,
        ),
        encoding="utf-8",
    )
    print(json.dumps(metrics["top1_by_training_frequency"]), metrics["top1"])


README = """# lab-clip

A small CLIP model for tests and the offline demo, trained from scratch on simulated scenes by
`scripts/training/train_lab_clip.py`. It is no use outside the lab: emoji on coloured backgrounds
are all that it has ever seen.

- Architecture: open_clip `CLIP`, a 64-pixel ResNet and a two-layer text transformer; weights in
  float16. Load it with `open_clip.create_model_and_transforms("local-dir:PATH")`.
- Data: {samples:,} lab pairs, seed {seed}, Zipf exponent {exponent}, {zero} of {concepts} concepts
  never seen, the default shares of omissions, hallucinations, unrelated pairs and duplicates.
- Training: {steps:,} steps of {batch} pairs, open_clip's `ClipLoss`, final loss {loss:.3f},
  {minutes:.0f} minutes on {device}.

Zero-shot top-1 accuracy among all {concepts} concepts, on {n} single-object test pictures of each
(`metrics.json` has every concept with its training frequency):

| concepts by training frequency | top-1 |
|---|---|
{rows}

The pictures it was trained on are drawn from Noto Color Emoji (SIL Open Font License 1.1).
"""


if __name__ == "__main__":
    main()

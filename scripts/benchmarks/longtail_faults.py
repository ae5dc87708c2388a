"""Plant copies, leaks and strangers in a pool, and count what is found; see `bench_longtail.py`."""

import argparse
import io
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.datasets import open_dataset
from conceptaudit.image.clip import ClipModel, find_clip
from conceptaudit.image.concept_vectors import encode_concepts
from conceptaudit.image.decode import decode_image
from conceptaudit.image.vectors import unit_rows
from conceptaudit.lab.bundled import lab_clip_path, lab_training
from conceptaudit.lab.config import LabConfig
from conceptaudit.lab.folders import draw_test_picture
from conceptaudit.lab.generate import generate
from conceptaudit.longtail import LongTailOptions, LongTailSet, build_long_tail
from conceptaudit.longtail.fingerprints import fingerprint_of
from conceptaudit.longtail.flagged_images import DEVIATIONS, SEPARATION, deviations, split
from conceptaudit.longtail.leaks import find_leaks
from conceptaudit.longtail.pretraining import open_pretraining
from conceptaudit.progress import SilentProgress
from conceptaudit.records import Concept, ConceptVocabulary

DUPLICATE = ("exact_bytes", "exact_pixels", "near_phash", "near_altered", "near_embedding")
NOT_COMPARED = ("nearer_to_other_concept",)
LEAK = ("leak_pixels", "leak_phash", "leak_altered", "leak_embedding", "leak_hash", "leak_url")
CLASSES, AMBIGUOUS = 30, 10
PLENTY, SCARCE, OTHERS = 25, 10, 8
PER_CLASS = 15


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--accuracy", type=float, default=0.8, help="that the model can tell")
    parser.add_argument("--pretraining", type=int, default=2_000, help="lab samples audited")
    parser.add_argument("--cifar", type=Path, help="folder of CIFAR-100, in place of the lab")
    parser.add_argument(
        "--clean", action="store_true", help="how often clean classes are suspected"
    )
    parser.add_argument("--planted", type=int, default=200, help="CIFAR-100 images planted")


def main(args: argparse.Namespace) -> None:
    """Run one of the three and print its tables and a JSON line."""
    run = cifar if args.cifar else clean if args.clean else lab
    print(json.dumps(run(args)))


def jpeg(image: Image.Image, quality: int) -> bytes:
    """Encode as JPEG."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def png(image: Image.Image) -> bytes:
    """Encode without loss."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def resized(image: Image.Image) -> Image.Image:
    """Shrink to three quarters."""
    size = (image.width * 3 // 4, image.height * 3 // 4)
    return image.resize(size, Image.Resampling.BICUBIC)


def cropped(image: Image.Image) -> Image.Image:
    """Cut two per cent off the left and the top, one off the others."""
    dx, dy = max(image.width // 50, 1), max(image.height // 50, 1)
    return image.crop((dx, dy, image.width - (dx + 1) // 2, image.height - (dy + 1) // 2))


COPIES: dict[str, Callable[[bytes], bytes]] = {
    "exact": lambda data: data,
    "pixels": lambda data: png(decode_image(data)),
    "encoded anew": lambda data: jpeg(decode_image(data), 50),
    "resized": lambda data: jpeg(resized(decode_image(data)), 85),
    "cropped": lambda data: jpeg(cropped(decode_image(data)), 85),
}


@dataclass(slots=True)
class Plan:
    """A pool and what is known of every image in it.

    `files` by key; `rows` by key: what it shows, of which original it is a copy, what was planted.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    rows: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, key: str, data: bytes, *, shows: str, family: str = "", kind: str = "") -> None:
        """Add an image."""
        self.files[key] = data
        self.rows[key] = {"shows": shows, "family": family or key, "kind": kind}

    @property
    def truth(self) -> pd.DataFrame:
        """One row per key."""
        return pd.DataFrame.from_dict(self.rows, orient="index")

    def write(self, folder: Path) -> Path:
        """Write the pool as an image folder."""
        folder.mkdir()
        for key, data in self.files.items():
            ending = "png" if data.startswith(b"\x89PNG") else "jpg"
            (folder / f"{key}.{ending}").write_bytes(data)
        return folder


@dataclass(slots=True)
class Remembering:
    """A model that embeds each picture once, however often a set is built."""

    clip: ClipModel
    seen: dict[bytes, np.ndarray] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.clip, name)

    def encode_images(self, images: Any) -> np.ndarray:
        """Embed those that are new."""
        keys = [image.tobytes() + repr(image.size).encode() for image in images]
        new = {k: image for k, image in zip(keys, images, strict=True) if k not in self.seen}
        if new:
            vectors = self.clip.encode_images(list(new.values()))
            self.seen |= dict(zip(new, vectors, strict=True))
        return np.stack([self.seen[key] for key in keys])


def plan_pool(
    classes: list[str], strangers: list[str], trained: pd.DataFrame, config: LabConfig
) -> Plan:
    """Draw the pool: true images, copies, leaks of `trained`, other senses, other classes."""
    plan = Plan()
    for number, name in enumerate(classes):
        n_true = PLENTY if number >= AMBIGUOUS and number % 2 == 0 else SCARCE
        for i in range(n_true):
            data = draw_test_picture(config, name, i)
            key = f"{number:02d}-true-{i:02d}"
            plan.add(key, data, shows=name)
            if i < len(COPIES):
                kind = list(COPIES)[i]
                copy = f"{number:02d}-copy-{i:02d}"
                plan.add(copy, COPIES[kind](data), shows=name, family=key, kind=kind)
        if number < AMBIGUOUS:
            for i in range(OTHERS):
                other = strangers[number]
                data = draw_test_picture(config, other, i)
                plan.add(f"{number:02d}-sense-{i:02d}", data, shows=other, kind="other sense")
    for i, name in enumerate(strangers[AMBIGUOUS:]):
        plan.add(
            f"other-{i:03d}", draw_test_picture(config, name, 0), shows=name, kind="other class"
        )
    for i, row in enumerate(trained.itertuples()):
        kind = list(COPIES)[i % len(COPIES)]
        told = "|".join(row.image)
        plan.add(f"leak-{i:03d}", COPIES[kind](row.data), shows=told, kind=f"leak, {kind}")
    return plan


def trained_pictures(folder: Path, classes: list[str], n: int) -> pd.DataFrame:
    """Pictures of the audited set that show one of the classes, no two of one scene."""
    truth = pd.read_parquet(folder / "truth.parquet")
    truth = truth[truth["duplicate_of"].isna() & truth["image_ok"]].drop_duplicates("key")
    wanted = truth["image"].map(lambda names: bool(set(names) & set(classes)))
    chosen = truth[wanted].head(n).set_index("key")
    dataset, data = open_dataset(folder), {}
    for shard in dataset.shards():
        for batch in dataset.read(shard, frozenset({"image"})):
            data |= dict(zip(batch.keys, batch.images or (), strict=True))
    return chosen.assign(data=[data[key] for key in chosen.index])


def outcomes(made: LongTailSet, truth: pd.DataFrame) -> pd.DataFrame:
    """Say what became of every image of the pool, and for which class."""
    removed = made.removed[~made.removed["reason"].isin(["other_class"])]
    removed = removed.drop_duplicates("key").set_index("key")
    images = made.images.set_index("key")
    table = truth.join(removed[["reason", "concept", "duplicate_of"]])
    table.loc[images.index, "reason"] = "in set"
    table.loc[images.index, "concept"] = images["concept"]
    return table


def copies_found(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Recall by kind, then precision: a pair is found if one of the two was removed for it."""
    lost = table[table["reason"].isin(DUPLICATE)]
    right = lost["family"].eq(table["family"].reindex(lost["duplicate_of"]).to_numpy())
    families = set(lost.loc[right, "family"])
    for kind in COPIES:
        planted = table[(table["kind"] == kind) & table["reason"].notna()]
        reasons = planted["reason"], table["reason"].reindex(planted["family"])
        gone = np.any([one.isin(NOT_COMPARED).to_numpy() for one in reasons], axis=0)
        planted = planted[~gone]
        found = planted["family"].isin(families)
        yield {"planted": f"copy, {kind}", "n": len(planted), "recall": float(found.mean())}
    yield {"planted": "all removed as copies", "n": len(lost), "precision": float(right.mean())}


def leaks_found(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Recall by kind among the candidates that were compared, then precision."""
    earlier = (*DUPLICATE, *NOT_COMPARED)
    compared = table[table["reason"].notna() & ~table["reason"].isin(earlier)]
    for kind in COPIES:
        planted = compared[compared["kind"] == f"leak, {kind}"]
        found = planted["reason"].isin(LEAK)
        yield {"planted": f"leak, {kind}", "n": len(planted), "recall": float(found.mean())}
    lost = table[table["reason"].isin(LEAK)]
    right = lost["kind"].str.startswith("leak")
    yield {"planted": "all removed as leaks", "n": len(lost), "precision": float(right.mean())}


def strangers_found(table: pd.DataFrame, classes: list[str]) -> Iterator[dict[str, Any]]:
    """Recall and precision of suspects among the ambiguous classes' candidates."""
    ours = table[table["concept"].isin(classes[:AMBIGUOUS])]
    judged = ours[ours["reason"].isin(["in set", "surplus", "other_sense", "outlier"])]
    planted = judged[judged["kind"] == "other sense"]
    found = planted["reason"].isin(["other_sense", "outlier"])
    lost = judged[judged["reason"] == "other_sense"]
    wrong = lost["shows"].ne(lost["concept"])
    yield {
        "planted": "other sense",
        "n": len(planted),
        "recall": float(found.mean()),
        "n_removed": len(lost),
        "precision": float(wrong.mean()) if len(lost) else None,
    }


def purity(table: pd.DataFrame, classes: list[str]) -> dict[str, float]:
    """Share of the set's images that show their class, by kind of class."""
    inside = table[table["reason"] == "in set"]
    right = pd.Series(
        [c in s.split("|") for c, s in zip(inside["concept"], inside["shows"], strict=True)],
        index=inside.index,
    )
    groups = {
        "ambiguous": set(classes[:AMBIGUOUS]),
        "plenty": set(classes[AMBIGUOUS::2]),
        "scarce": set(classes[AMBIGUOUS + 1 :: 2]),
    }
    found = {
        name: float(right[inside["concept"].isin(group)].mean()) for name, group in groups.items()
    }
    return {**found, "all": float(right.mean()), "n_images": len(inside)}


def lab(args: argparse.Namespace) -> dict[str, Any]:
    """Plant faults among the lab's pictures."""
    rng = np.random.default_rng(args.seed)
    metrics = json.loads((lab_clip_path() / "metrics.json").read_text())["concepts"]
    told = {row["concept"]: row["n_correct"] / row["n_images"] for row in metrics}
    able = [name for name in sorted(told) if told[name] >= args.accuracy]
    able = [able[i] for i in rng.permutation(len(able))]
    classes = able[:CLASSES]
    clip = Remembering(find_clip("lab", device="cpu"))
    config = replace(lab_training().config, seed=args.seed, n_samples=args.pretraining)
    templates = lab_training().templates
    spare = [name for name in sorted(told) if name not in classes]
    senses = likeliest_strangers(classes[:AMBIGUOUS], spare, clip, config, templates)
    strangers = [*senses, *(name for name in spare if name not in senses)]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        trained = work / "trained"
        generate(config, trained)
        vocabulary = [Concept(name=name) for name in sorted(told) if name not in senses]
        options = AuditOptions(clip="lab", device="cpu", templates=templates, workers=1)
        run = audit(trained, ConceptVocabulary(tuple(vocabulary)), work / "run", options=options)
        (work / "selection.csv").write_text("concept\n" + "\n".join(classes) + "\n")
        rows = [f"{classes[i]},{senses[i]}" for i in range(AMBIGUOUS)]
        (work / "senses.csv").write_text("concept,sense\n" + "\n".join(rows) + "\n")
        pictures = trained_pictures(trained, classes, 200)
        plan = plan_pool(classes, strangers, pictures, replace(config, seed=args.seed + 1))
        pool = plan.write(work / "pool")
        base = LongTailOptions(
            selection=work / "selection.csv",
            per_class=PER_CLASS,
            oversample=20,
            templates=templates,
            embedding_similarity=2.0,
            suspects="off",
        )
        result: dict[str, Any] = {"pool": len(plan.files), "classes": len(classes)}

        def build(title: str, **changes: Any) -> pd.DataFrame:
            made = build_long_tail(
                run.folder, pool, work / "set", options=replace(base, **changes), clip=clip,
                overwrite=True,
            )  # fmt: skip
            table = outcomes(made, plan.truth)
            result[title] = {
                "purity": purity(table, classes),
                "copies": list(copies_found(table)),
                "leaks": list(leaks_found(table)),
                "senses": list(strangers_found(table, classes)),
            }
            return table

        for title, changes in _settings(trained, run.folder, work).items():
            build(title, **changes)
            _show(title, result[title])
    return result


def likeliest_strangers(
    classes: list[str],
    names: list[str],
    clip: Remembering,
    config: LabConfig,
    templates: tuple[str, ...],
) -> list[str]:
    """For each class the other thing whose pictures fit its name best: what a second sense is."""
    vocabulary = ConceptVocabulary(tuple(Concept(name=name) for name in classes))
    texts = encode_concepts(vocabulary, clip.clip, templates)
    images = [decode_image(draw_test_picture(config, name, i)) for name in names for i in range(2)]
    scores = unit_rows(clip.encode_images(images)).reshape(len(names), 2, -1).mean(axis=1) @ texts.T
    chosen: list[str] = []
    for column in range(len(classes)):
        order = np.argsort(-scores[:, column])
        chosen.append(next(names[i] for i in order if names[i] not in chosen))
    return chosen


def _settings(trained: Path, run: Path, work: Path) -> dict[str, dict[str, Any]]:
    strict = {"against": (trained,), "suspects": "remove"}
    named = {**strict, "other_senses": work / "senses.csv"}
    margins = {
        f"margin {margin:g}{title}": {**given, "min_margin": margin}
        for margin in (0.0, 0.05, 0.1)
        for title, given in (
            (" alone", {"against": (trained,)}),
            (", suspects removed, other senses named", named),
        )
    }
    return {
        "unchecked but for equal pictures": {"phash_distance": -1},
        "defaults but for embeddings": {"against": (trained,)},
        "pHash 6": {"against": (trained,), "phash_distance": 6},
        "and embedding copies at 0.985": {"against": (trained,), "embedding_similarity": 0.985},
        "leaks by embedding alone, 0.985": {"against": (run,), "leak_similarity": 0.985},
        "suspects removed": strict,
        "suspects removed, other senses named": named,
        **margins,
    }


def _show(title: str, found: dict[str, Any]) -> None:
    shares = ", ".join(f"{name} {share:.3f}" for name, share in found["purity"].items())
    print(f"\n{title}: purity {shares}")
    rows = [*found["copies"], *found["leaks"], *found["senses"]]
    print(pd.DataFrame(rows).round(4).to_string(index=False))


def clean(args: argparse.Namespace) -> dict[str, Any]:
    """Suspect classes of 20 true pictures, then with two strangers or six of one other class."""
    config = replace(lab_training().config, seed=args.seed)
    clip = find_clip("lab", device="cpu")
    metrics = json.loads((lab_clip_path() / "metrics.json").read_text())["concepts"]
    names = [row["concept"] for row in metrics]
    vocabulary = ConceptVocabulary(tuple(Concept(name=name) for name in names))
    texts = encode_concepts(vocabulary, clip, lab_training().templates)
    vectors = []
    for name in names:
        images = [decode_image(draw_test_picture(config, name, i)) for i in range(20)]
        vectors.append(unit_rows(clip.encode_images(images)))
    right = np.array([((v @ texts.T).argmax(axis=1) == i) for i, v in enumerate(vectors)])
    accuracy = right.mean(axis=1)
    rng = np.random.default_rng(args.seed)
    rows = []
    for low, high in ((0.9, 1.01), (0.7, 0.9), (0.3, 0.7), (0.0, 0.3)):
        chosen = np.flatnonzero((accuracy >= low) & (accuracy < high))
        rows.append({"accuracy from": low, **_band(chosen, vectors, right, rng)})
    print(pd.DataFrame(rows).round(4).to_string(index=False))
    return {"clean": rows}


def _band(
    chosen: np.ndarray, vectors: list[np.ndarray], right: np.ndarray, rng: np.random.Generator
) -> dict[str, float]:
    """How often images and classes are suspected, without reason and with it."""
    alarms, strangers, one, two, side = [], [], [], [], []
    for i in chosen.tolist():
        own = vectors[i]
        alarms.append(deviations(own, 20) > DEVIATIONS)
        one.append(split(own, 20)[1] >= SEPARATION)
        others = [j for j in range(len(vectors)) if j != i]
        picked = [vectors[j][0] for j in rng.choice(others, 2, replace=False)]
        strangers.append(deviations(np.stack([*own[:18], *picked]), 20)[18:] > DEVIATIONS)
        mixed = np.concatenate([own[:14], vectors[rng.choice(others)][:6]])
        smaller, separation = split(mixed, 20)
        two.append(separation >= SEPARATION)
        if two[-1]:
            side.append((smaller == (np.arange(20) >= 14)).mean())
    false = np.array(alarms)
    return {
        "classes": len(chosen),
        "outlier, clean": float(false.mean()),
        "outlier, clean and recognised": float(false[right[chosen]].mean()),
        "outlier, stranger": float(np.mean(strangers)),
        "split, clean": float(np.mean(one)),
        "split, 14 and 6": float(np.mean(two)),
        "right side": float(np.mean(side)),
    }


def cifar(args: argparse.Namespace) -> dict[str, Any]:
    """Plant training images of CIFAR-100 among its test images, and look for them."""
    trained = pd.read_parquet(args.cifar / "train.parquet", columns=["image"])["image"]
    test = pd.read_parquet(args.cifar / "test.parquet", columns=["image"])["image"]
    chosen = np.sort(np.random.default_rng(args.seed).choice(len(trained), args.planted, False))
    pool = [*test, *trained.iloc[chosen]]
    files = [value["bytes"] if isinstance(value, dict) else value for value in pool]
    candidates = pd.DataFrame([asdict(fingerprint_of(data, decode_image(data))) for data in files])
    candidates["key"] = [str(i) for i in range(len(files))]
    texts = dict.fromkeys(("url", "reason", "detail", "duplicate_of"), "")
    candidates = candidates.assign(vector=range(len(files)), **texts)
    source = open_pretraining(args.cifar / "train.parquet", "")
    vectors = np.zeros((len(candidates), 1), dtype=np.float32)
    result: dict[str, Any] = {"pool": len(pool), "trained": len(trained), "planted": args.planted}
    began = time.perf_counter()
    find_leaks(candidates, vectors, [source], LongTailOptions(), progress=SilentProgress())
    rows = candidates.loc[candidates["reason"] != "", ["key", "reason", "detail"]]
    rows = rows.assign(
        image=rows["key"].astype(int), distance=[one.rpartition(" ")[2] for one in rows["detail"]]
    )
    result["seconds"] = round(time.perf_counter() - began, 1)
    planted = rows["image"] >= len(test)
    result["planted found"] = int(planted.sum())
    result["planted found by"] = rows.loc[planted, "reason"].value_counts().to_dict()
    result["of the test split, by pixels"] = int(
        (~planted & rows["reason"].eq("leak_pixels")).sum()
    )
    near = rows[~planted & rows["reason"].eq("leak_phash")]
    result["of the test split, by pHash distance"] = (
        near["distance"].astype(int).value_counts().sort_index().to_dict()
    )
    return result

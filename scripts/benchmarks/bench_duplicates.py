r"""Near duplicates: precision and recall in the lab, false alarms on photographs, speed.

    python scripts/benchmarks/bench_duplicates.py lab --embeddings EMB --truth LAB/truth.parquet
    python scripts/benchmarks/bench_duplicates.py photos --photos DATA/photos/coco-mini \
        --cifar DATA/cifar100/test.parquet
    python scripts/benchmarks/bench_duplicates.py speed --queries 100000 --references 1000000

`lab` takes a dataset of the lab and its embeddings (`conceptaudit lab generate`, `conceptaudit
embed`); a pair is right if both samples show the same scene. `photos` re-encodes and crops
photographs, and looks how often distinct ones pass for copies. Each ends with a JSON line.
"""

import argparse
import io
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from PIL import Image

from conceptaudit.auditing.duplicates import read_pictures
from conceptaudit.datasets import open_dataset
from conceptaudit.image.decode import decode_image
from conceptaudit.image.duplicates import find_duplicates, null_threshold
from conceptaudit.image.similarity_join import EXACT_PAIRS, find_matches, match_among
from conceptaudit.image.thumbnails import Thumbnails, colour_vectors, thumbnail_of
from conceptaudit.image.vectors import unit_rows

COSINES = (0.8, 0.85, 0.9, 0.95, 0.97, 0.99, 0.995, 0.999)
LOOKS = (0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98)


def pair_scores(
    scores: np.ndarray, same: np.ndarray, near: np.ndarray, thresholds: tuple[float, ...]
) -> list[dict[str, float]]:
    """Precision and recall over pairs; `near` are the pairs that differ by a crop."""
    rows = []
    for threshold in thresholds:
        hit = scores >= threshold
        rows.append(
            {
                "threshold": threshold,
                "precision": float((hit & same).sum() / max(hit.sum(), 1)),
                "recall_near": float((hit & near).sum() / max(near.sum(), 1)),
            }
        )
    return rows


def show(title: str, rows: list[dict[str, float]]) -> None:
    """Print a table."""
    print(f"\n{title}")
    print(pd.DataFrame(rows).round(4).to_string(index=False))


def lab(arguments: argparse.Namespace) -> dict[str, object]:
    """Compare by pairs, then by groups, with what the lab copied."""
    dataset = open_dataset(arguments.embeddings)
    pictures = read_pictures(dataset, dataset.shards())
    truth = (
        pd.read_parquet(arguments.truth).drop_duplicates("key").set_index("key").loc[pictures.keys]
    )
    place = {key: row for row, key in enumerate(pictures.keys)}
    source = np.array(
        [
            place.get(of, row) if isinstance(of, str) else row
            for row, of in enumerate(truth["duplicate_of"])
        ]
    )
    near_copy = (truth["duplicate_kind"] == "near").to_numpy()
    n = len(source)
    low = np.tril_indices(n, -1)
    same = (source[:, None] == source[None])[low]
    near = same & (near_copy[:, None] | near_copy[None])[low]
    vectors = unit_rows(pictures.vectors.astype(np.float32))
    cosine = (vectors @ vectors.T)[low]
    looks = colour_vectors(pictures.thumbnails.colours)
    look = (looks @ looks.T)[low]
    result: dict[str, object] = {"n": n, "near_copies": int(near_copy.sum())}
    for name, scores, thresholds in (
        ("embedding alone", cosine, COSINES),
        ("thumbnail alone", look, LOOKS),
        ("thumbnail, and embedding >= 0.9", np.where(cosine >= 0.9, look, -1), LOOKS),
    ):
        rows = pair_scores(scores, same, near, thresholds)
        show(name, rows)
        result[name] = rows
    chosen = null_threshold(pictures.vectors[np.unique(source)])
    print(f"\nfrom the model's null: {chosen}")
    result["null_threshold"] = chosen
    for name, given in (
        ("exact only", {"threshold": None}),
        ("auto", {"threshold": 0.9, "thumbnails": pictures.thumbnails, "altered_threshold": -1.0}),
        ("auto without thumbnails", {"threshold": chosen}),
    ):
        groups = find_duplicates(pictures.vectors, identities=pictures.digests, **given)
        true = len(np.unique(source))
        result[f"unique, {name}"] = groups.n_unique
        print(f"{name}: {n:,} samples, {groups.n_unique:,} unique pictures, {true:,} in truth")
    return result


def taken_again(data: bytes, crop: float, quality: int) -> bytes:
    """Crop a share of each side and encode anew."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    width, height = image.size
    dx, dy = int(width * crop), int(height * crop)
    stream = io.BytesIO()
    image.crop((dx, dy, width - dx // 2, height - dy)).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def photos(arguments: argparse.Namespace) -> dict[str, object]:
    """Count copies of photographs that are found, and distinct ones that pass for copies."""
    files = [path.read_bytes() for path in sorted(arguments.photos.rglob("*.jpg"))]
    result: dict[str, object] = {"n": len(files)}

    def looks(images: list[bytes]) -> np.ndarray:
        thumbnails = Thumbnails.of([thumbnail_of(decode_image(data)) for data in images])
        return colour_vectors(thumbnails.colours)

    plain = looks(files)
    _, first = np.unique(plain.round(4), axis=0, return_index=True)
    files, plain = [files[i] for i in sorted(first)], plain[sorted(first)]
    rows = []
    for crop, quality in ((0.0, 50), (0.01, 75), (0.02, 75), (0.04, 75), (0.08, 75)):
        again = looks([taken_again(data, crop, quality) for data in files])
        scores = np.einsum("ij,ij->i", plain, again)
        found = {f">={t}": float((scores >= t).mean()) for t in (0.9, 0.94, 0.95, 0.97)}
        rows.append({"crop": crop, "quality": quality, **found})
    show(f"share of {len(files)} photographs recognised when cropped and encoded anew", rows)
    result["recall"] = rows
    table = pd.read_parquet(arguments.cifar)
    column = next(
        name
        for name in table
        if table[name].map(type).eq(bytes).any() or table[name].map(type).eq(dict).any()
    )
    small = [
        value["bytes"] if isinstance(value, dict) else value
        for value in table[column][: arguments.n_cifar]
    ]
    crowd = looks(small)
    alarms = []
    for threshold in (0.9, 0.94, 0.95, 0.97):
        among = match_among(plain, threshold)
        pairs = match_among(crowd, threshold)
        alarms.append(
            {
                "threshold": threshold,
                "photograph_pairs": len(among.rows),
                "cifar_pairs": len(pairs.rows),
                "cifar_share": len(np.unique([pairs.rows, pairs.columns])) / len(crowd),
            }
        )
    show(
        f"pairs that look the same among {len(plain)} photographs and {len(crowd):,} of CIFAR-100",
        alarms,
    )
    result["alarms"] = alarms
    return result


def speed(arguments: argparse.Namespace) -> dict[str, object]:
    """Find planted copies among clustered vectors."""
    rng = np.random.default_rng(0)
    n, dimension = arguments.references, arguments.dimension
    centres = unit_rows(rng.standard_normal((2000, dimension)).astype(np.float32))
    references = np.empty((n, dimension), dtype=np.float16)
    for start in range(0, n, 50_000):
        stop = min(start + 50_000, n)
        around = centres[rng.integers(0, 2000, stop - start)]
        spread = 0.05 * rng.standard_normal((stop - start, dimension), dtype=np.float32)
        references[start:stop] = unit_rows(around + spread)
    chosen = rng.choice(n, arguments.queries, replace=False)
    noise = 0.014 * rng.standard_normal((arguments.queries, dimension), dtype=np.float32)
    queries = unit_rows(references[chosen].astype(np.float32) + noise).astype(np.float16)
    began = time.perf_counter()
    used = time.process_time()
    found = find_matches(queries, references, 0.93, exact_pairs=arguments.exact_pairs)
    seconds, used = time.perf_counter() - began, time.process_time() - used
    hits = np.zeros(arguments.queries, dtype=bool)
    hits[found.rows[found.columns == chosen[found.rows]]] = True
    similarity = np.einsum(
        "ij,ij->i",
        unit_rows(queries.astype(np.float32)),
        unit_rows(references[chosen].astype(np.float32)),
    )
    expected = similarity >= 0.93
    result: dict[str, object] = {
        "queries": arguments.queries,
        "references": n,
        "dimension": dimension,
        "approximate": found.approximate,
        "seconds": seconds,
        "processor_seconds": used,
        "recall": float(hits[expected].mean()),
        "n_expected": int(expected.sum()),
        "pairs": len(found.rows),
        "peak_rss_gib": psutil.Process().memory_info().rss / 2**30,
    }
    for name, value in result.items():
        print(f"{name:16} {value}")
    return result


def main() -> None:
    """Run one of the three."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="what", required=True)
    one = verbs.add_parser("lab")
    one.add_argument("--embeddings", type=Path, required=True)
    one.add_argument("--truth", type=Path, required=True)
    one.set_defaults(run=lab)
    two = verbs.add_parser("photos")
    two.add_argument("--photos", type=Path, required=True)
    two.add_argument("--cifar", type=Path, required=True)
    two.add_argument("--n-cifar", type=int, default=2000)
    two.add_argument("--clip", default="lab")
    two.set_defaults(run=photos)
    three = verbs.add_parser("speed")
    three.add_argument("--queries", type=int, default=100_000)
    three.add_argument("--references", type=int, default=1_000_000)
    three.add_argument("--dimension", type=int, default=512)
    three.add_argument("--exact-pairs", type=int, default=EXACT_PAIRS)
    three.set_defaults(run=speed)
    arguments = parser.parse_args()
    print(json.dumps(arguments.run(arguments)))


if __name__ == "__main__":
    main()

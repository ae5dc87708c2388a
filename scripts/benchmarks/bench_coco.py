"""Category words in COCO captions against COCO's own instance annotations, on img2dataset layouts.

    python scripts/benchmarks/bench_coco.py --coco COCO --clip ViT-B-32/untrained

Packs the captioned photographs as img2dataset would write them (tars, and parquet with the
pictures), audits both, checks that they count the same, compares the text tags with the annotated
instances, and builds a long-tail set with the photographs without captions as the pool.
"""

import argparse
import io
import json
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.auditing import AuditOptions, AuditRun, audit
from conceptaudit.longtail import LongTailOptions, build_long_tail
from conceptaudit.records import Concept, ConceptVocabulary

PEOPLE = ("man", "woman", "boy", "girl", "child", "baby", "human", "kid", "guy", "lady")
"""What captions call a person; annotators call all of them "person"."""

PER_SHARD = 200


def read_coco(root: Path) -> tuple[pd.DataFrame, dict[str, set[str]], list[str]]:
    """Read image-caption pairs, annotated categories per image, and the category names."""
    pairs, truth, names = [], {}, []
    for split in ("train2017", "val2017"):
        captions = json.loads((root / f"annotations/captions_{split}.json").read_text())
        instances = json.loads((root / f"annotations/instances_{split}.json").read_text())
        categories = {category["id"]: category["name"] for category in instances["categories"]}
        names = list(categories.values())
        files = {image["id"]: image["file_name"] for image in captions["images"]}
        for annotation in captions["annotations"]:
            file = next(root.glob(f"*/{files[annotation['image_id']]}"))
            pairs.append((files[annotation["image_id"]], file, annotation["caption"]))
        for file in files.values():
            truth.setdefault(file, set())
        for annotation in instances["annotations"]:
            truth[files[annotation["image_id"]]].add(categories[annotation["category_id"]])
    return pd.DataFrame(pairs, columns=["image", "path", "caption"]), truth, names


def pack(pairs: pd.DataFrame, tars: Path, tables: Path) -> None:
    """Write the pairs as WebDataset tars and as parquet with pictures."""
    tars.mkdir()
    tables.mkdir()
    for shard, start in enumerate(range(0, len(pairs), PER_SHARD)):
        rows = []
        part = pairs.iloc[start : start + PER_SHARD]
        with tarfile.open(tars / f"{shard:05d}.tar", "w") as tar:
            for number, row in enumerate(part.itertuples(index=False)):
                key = f"{shard:05d}{number:04d}"
                picture = row.path.read_bytes()
                record = {"key": key, "caption": row.caption, "status": "success"}
                rows.append({**record, "error_message": None, "jpg": picture})
                members = {"jpg": picture, "txt": row.caption.encode()}
                members["json"] = json.dumps({**record, "image": row.image}).encode()
                for suffix, data in members.items():
                    member = tarfile.TarInfo(f"{key}.{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
        pd.DataFrame(rows).to_parquet(tables / f"{shard:05d}.parquet")


def compare(
    run: AuditRun, pairs: pd.DataFrame, truth: dict[str, set[str]], names: list[str]
) -> None:
    """Print how captions' category words agree with the annotated instances, image by image."""
    tags = pd.concat(
        [pd.read_parquet(p) for p in sorted((run.folder / "text").glob("*[0-9].parquet"))]
    )
    position = tags["key"].str[:5].astype(int) * PER_SHARD + tags["key"].str[5:].astype(int)
    images = pairs["image"].to_numpy()[position]
    named = set(zip(images, [names[i] for i in tags["concept_id"]], strict=True))
    shown = {(image, name) for image, present in truth.items() for name in present}
    both = len(named & shown)
    print(f"named by at least one of five captions: {len(named):,} (image, category) pairs")
    print(f"annotated in the picture:               {len(shown):,}")
    print(f"  share of the named that is annotated  {both / len(named):.3f}")
    print(f"  share of the annotated that is named  {both / len(shown):.3f}")
    n_named = pd.Series([name for _, name in named]).value_counts().reindex(names).fillna(0)
    n_shown = pd.Series([name for _, name in shown]).value_counts().reindex(names).fillna(0)
    rank = n_named.corr(n_shown, method="spearman")
    print(f"  rank correlation of category counts   {rank:.3f}")
    wrong = pd.Series([name for _, name in named - shown]).value_counts().head(8)
    print(f"  named, not annotated, most often      {dict(wrong)}")
    missed = pd.Series([name for _, name in shown - named]).value_counts().head(8)
    print(f"  annotated, not named, most often      {dict(missed)}")
    result = {"named": len(named), "annotated": len(shown), "both": both, "rank": rank}
    print(json.dumps({"bench": "coco", **result}))


def main() -> None:
    """Read the command line, pack, audit, compare, build a long-tail set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--coco", type=Path, required=True)
    parser.add_argument("--clip", default="ViT-B-32/untrained")
    parser.add_argument("--out", type=Path, help="keep the runs here")
    arguments = parser.parse_args()
    pairs, truth, names = read_coco(arguments.coco)
    vocabulary = ConceptVocabulary(
        tuple(Concept(name=n, aliases=PEOPLE if n == "person" else ()) for n in names)
    )
    folder = arguments.out or Path(tempfile.mkdtemp())
    pack(pairs, folder / "tars", folder / "tables")
    options = AuditOptions(clip=arguments.clip, device="cpu", threshold=0.02)
    runs = {}
    for layout in ("tars", "tables"):
        start = time.perf_counter()
        runs[layout] = audit(folder / layout, vocabulary, folder / f"run_{layout}", options=options)
        account = runs[layout].account
        print(f"{layout}: {time.perf_counter() - start:.1f} s, {account}")
    counts = [
        run.table[["n_text", "n_image", "n_joint"]].to_numpy(dtype=int) for run in runs.values()
    ]
    print(f"tars and tables count the same: {np.array_equal(*counts)}")
    compare(runs["tars"], pairs, truth, names)
    captioned = set(pairs["image"])
    pool = folder / "pool"
    pool.mkdir()
    for path in sorted(arguments.coco.glob("*2017/*.jpg")):
        if path.name not in captioned:
            (pool / path.name).write_bytes(path.read_bytes())
    tail = build_long_tail(
        folder / "run_tars",
        pool,
        folder / "tail",
        options=LongTailOptions(count="text", k=10, per_class=4),
    )
    print(f"long-tail set: {len(tail.images)} images of {len(tail.concepts)} concepts, in {folder}")
    print(tail.removed["reason"].value_counts().to_dict())


if __name__ == "__main__":
    main()

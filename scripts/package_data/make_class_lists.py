"""Pack the class lists that ship: ImageNet-1k's from open_clip and timm, LVIS's from Detic's file.

    python scripts/package_data/make_class_lists.py LVIS_CATEGORIES_CSV

Both packages are dependencies already; LVIS_CATEGORIES_CSV has ``name, synset, synonyms`` in the
order of LVIS's category ids. NOTICE has the licences.
"""

import csv
import sys
from pathlib import Path

import open_clip
import timm

LISTS = Path(__file__).parents[2] / "conceptaudit" / "vocabulary" / "lists"


def write(name: str, header: list[str], rows: list[list[object]]) -> None:
    """Write a list as CSV."""
    with (LISTS / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def main(lvis: Path) -> None:
    """Write both lists."""
    synsets = Path(timm.__file__).parent / "data" / "_info" / "imagenet_synsets.txt"
    names = zip(synsets.read_text().split(), open_clip.IMAGENET_CLASSNAMES, strict=True)
    write(
        "imagenet",
        ["class_index", "synset", "concept"],
        [[index, synset, name] for index, (synset, name) in enumerate(names)],
    )
    with lvis.open(encoding="utf-8", newline="") as file:
        categories = list(csv.DictReader(file))
    rows: list[list[object]] = []
    for index, category in enumerate(categories):
        aliases = [name for name in category["synonyms"].split("|") if name != category["name"]]
        rows.append([index, category["synset"], category["name"], "|".join(aliases)])
    write("lvis", ["class_index", "synset", "concept", "aliases"], rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

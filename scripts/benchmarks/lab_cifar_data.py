"""CIFAR-100-LT as image-caption pairs with known truth, for `lab_cifar.py`.

The long-tailed subsample follows Cao et al. 2019 ("Learning Imbalanced Datasets with
Label-Distribution-Aware Margin Loss"): class i of C keeps 500 · factor^(-i / (C - 1)) photographs.
A photograph shows its class and, as far as is known, nothing else; its caption may keep quiet
about it, name another class as well, or use a class's word as a verb or a colour.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.lab.phrases import with_article

PER_CLASS = 500
PER_SHARD = 4_000
TEMPLATES = (
    "a photo of {a}",
    "{a}",
    "picture of {a}",
    "close-up of {a}",
    "{plural}",
    "my favourite {name}",
    "{plural} for sale",
    "{a} seen from the side",
    "the {name}, photographed in 2009",
    "Stock image: {name}",
    "there are {number} {plural} here",
    "Free {name} wallpaper",
    "look at this {name}!",
    "an old photo of {a}",
    "a blurry photo of some {plural}",
    "small {name}, high quality",
    "DSC_{digits} {name}",
    "how to draw {plural}",
)
OTHER_ROLE = (
    "you can see {a} here",
    "the sun rose behind {a}",
    "{a} on a plain background",
    "{a} in soft orange light",
    "we could not bear to leave {plural} alone",
    "they train every day to find {a}",
)
"""A class's word (can, rose, plain, orange, bear, train) that names nothing."""

SILENT = (
    "IMG_{digits}",
    "untitled",
    "click to enlarge",
    "photo of the day",
    "taken last week by a friend",
    "no description available",
    "New arrivals {digits}",
)
JOINED = ("{text} with {b}", "{text} next to {b}", "{text} (not {b})", "{text}, {b}, tags")
IRREGULAR = {
    "man": "men",
    "woman": "women",
    "mouse": "mice",
    "wolf": "wolves",
    "cattle": "cattle",
    "trout": "trout",
    "flatfish": "flatfish",
    "aquarium fish": "aquarium fish",
}
GROUPS = {"head (> 100)": (101, PER_CLASS), "middle (20 to 100)": (20, 100), "tail (< 20)": (0, 19)}
"""Training photographs per class: many, medium and few shot of Liu et al. 2019 ("Large-Scale
Long-Tailed Recognition in an Open World")."""

NUMBERS = ("two", "three", "four", "many")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionShares:
    """Shares of captions, each in [0, 1], that do something else than name the class."""

    silent: float = 0.10
    extra: float = 0.10
    other_role: float = 0.08


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """The long-tailed training set.

    Parameters
    ----------
    table : pandas.DataFrame
        ``key, image`` (webp bytes), ``label`` (what is shown), ``caption``, ``named`` (list of
        classes that the caption names as nouns).
    names : tuple of str
        The classes, most frequent first.
    sizes : numpy.ndarray of int64, shape (n_classes,)
        Photographs of each.
    """

    table: pd.DataFrame
    names: tuple[str, ...]
    sizes: np.ndarray

    def true_counts(self) -> pd.DataFrame:
        """Count the true ``n_text, n_image, n_joint`` of every class."""
        labels, named = self.table["label"], self.table["named"]
        said = named.explode().value_counts()
        both = [label in classes for label, classes in zip(labels, named, strict=True)]
        counts = {"n_text": said, "n_image": labels.value_counts()}
        counts["n_joint"] = labels[both].value_counts()
        columns = {k: v.reindex(list(self.names)).fillna(0).astype(int) for k, v in counts.items()}
        return pd.DataFrame(columns).rename_axis("concept").reset_index()

    def by_group(self, columns: dict[str, np.ndarray]) -> pd.DataFrame:
        """Average columns, a value per class, over head, middle and tail classes, and all."""
        table = pd.DataFrame({"photographs": self.sizes, **columns})
        chosen = {
            group: table[(self.sizes >= low) & (self.sizes <= high)]
            for group, (low, high) in GROUPS.items()
        }
        chosen["all"] = table
        means = {group: {"classes": len(part), **part.mean()} for group, part in chosen.items()}
        return pd.DataFrame.from_dict(means, orient="index")


def data_folder() -> Path:
    """Name the folder of the photographs."""
    return Path(os.environ.get("CONCEPTAUDIT_REALDATA", "../shared/data")) / "cifar100"


def plural_of(name: str) -> str:
    """Form the plural of a class name."""
    if name in IRREGULAR:
        return IRREGULAR[name]
    if name.endswith(("s", "x", "ch", "sh")):
        return f"{name}es"
    if name.endswith("y") and name[-2] not in "aeiou":
        return f"{name[:-1]}ies"
    return f"{name}s"


def a_or_some(name: str) -> str:
    """Put the indefinite article before a name that takes one."""
    return "some cattle" if name == "cattle" else with_article(name)


def pick(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    """Pick one, all equally likely."""
    return choices[int(rng.integers(len(choices)))]


def write_caption(
    rng: np.random.Generator, label: str, other: str, shares: CaptionShares
) -> tuple[str, list[str]]:
    """Caption a photograph of `label`; return the text and the classes that it names."""
    named: list[str] = []
    if rng.random() < shares.silent:
        text = pick(rng, SILENT).format(digits=rng.integers(1_000, 9_999))
    else:
        named.append(label)
        chosen = OTHER_ROLE if rng.random() < shares.other_role else TEMPLATES
        text = pick(rng, chosen).format(
            a=a_or_some(label),
            name=label,
            plural=plural_of(label),
            number=pick(rng, NUMBERS),
            digits=rng.integers(1_000, 9_999),
        )
    if rng.random() < shares.extra and other != label:
        named.append(other)
        text = pick(rng, JOINED).format(text=text, b=a_or_some(other))
    return (text[0].upper() + text[1:] if rng.random() < 0.5 else text), named


def long_tailed(factor: float, seed: int, shares: CaptionShares) -> Pairs:
    """Draw the long-tailed subsample and caption it.

    Parameters
    ----------
    factor : float
        Photographs of the most frequent class over those of the rarest, at least 1.
    seed : int
        Of the order of classes, the photographs and the captions.
    shares : CaptionShares
    """
    photographs = pd.read_parquet(data_folder() / "train.parquet", columns=["image", "label"])
    rng = np.random.default_rng(seed)
    names = tuple(rng.permutation(sorted(photographs["label"].unique())).tolist())
    exponents = -np.arange(len(names)) / (len(names) - 1)
    sizes = np.floor(PER_CLASS * factor**exponents + 1e-9).astype(np.int64)
    rows = photographs.groupby("label").indices
    kept = [rng.choice(rows[n], size=k, replace=False) for n, k in zip(names, sizes, strict=True)]
    table = photographs.iloc[rng.permutation(np.concatenate(kept))].reset_index(drop=True)
    # Rare words are rarely said by mistake, but more often than they are shown.
    weights = np.sqrt(sizes) / np.sqrt(sizes).sum()
    others = rng.choice(list(names), size=len(table), p=weights)
    written = [
        write_caption(rng, label, str(other), shares)
        for label, other in zip(table["label"], others, strict=True)
    ]
    table["caption"] = [text for text, _ in written]
    table["named"] = [named for _, named in written]
    shards, places = np.divmod(np.arange(len(table)), PER_SHARD)
    table["key"] = [f"{s:05d}{p:04d}" for s, p in zip(shards, places, strict=True)]
    return Pairs(table=table, names=names, sizes=sizes)


def write_dataset(pairs: Pairs, folder: Path) -> Path:
    """Write the pairs as img2dataset's ``parquet`` output would be, truth left out."""
    folder.mkdir(parents=True)
    for shard, start in enumerate(range(0, len(pairs.table), PER_SHARD)):
        part = pairs.table.iloc[start : start + PER_SHARD]
        record = {"key": part["key"], "caption": part["caption"], "status": "success"}
        table = pd.DataFrame(record).assign(error_message=None, width=32, height=32)
        table.assign(webp=part["image"]).to_parquet(folder / f"{shard:05d}.parquet", index=False)
    return folder


def write_test_folders(folder: Path, per_class: int, seed: int) -> Path:
    """Write a balanced draw from the test split, one folder of pictures per class."""
    photographs = pd.read_parquet(data_folder() / "test.parquet", columns=["image", "label"])
    rng = np.random.default_rng(seed)
    for label, rows in photographs.groupby("label").indices.items():
        target = folder / str(label)
        target.mkdir(parents=True)
        chosen = rng.choice(rows, size=min(per_class, len(rows)), replace=False)
        for number, row in enumerate(sorted(chosen.tolist())):
            (target / f"{number:03d}.webp").write_bytes(photographs["image"].iloc[row])
    return folder

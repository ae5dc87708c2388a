"""How every verb is called on small data, and what must not happen to files beside its own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

FOREIGN = ("notes.txt", "notes.json", "mine.parquet", ".film.partial", "thesis/chapter.tex")
"""Laid into the run folder and into every folder below it."""

PLAIN, RESUME, OVERWRITE = "plain", "resume", "overwrite"


@dataclass(frozen=True)
class Verb:
    """How a verb is called on the small data.

    Parameters
    ----------
    command : tuple of str
        ``{data}`` stands for the data's folder.
    other : tuple of str
        Options that make another run of it.
    modes : tuple of str
        What the user may ask for where a run is there already.
    out : str
        What it is told to write.
    held : str
        Folder in which files of the user are laid.
    parts : bool
        Whether it runs as parts.
    inputs : tuple of str
        Places below the data that it reads.
    """

    command: tuple[str, ...]
    other: tuple[str, ...]
    inputs: tuple[str, ...]
    modes: tuple[str, ...] = (PLAIN, RESUME, OVERWRITE)
    out: str = "run"
    held: str = "run"
    parts: bool = True
    workers: bool = True

    def at(self, data: Path, place: Path, *more: str, out: Path | str | None = None) -> list[str]:
        """Return the command line."""
        words = [word.format(data=data, place=place) for word in self.command]
        one = ["--workers", "1"] if self.workers else []
        return [*words, "-o", str(out or place / self.out), *one, *more]


VERBS = {
    "audit": Verb(
        ("audit", "{data}/captions.csv", "-c", "{data}/concepts.txt", "--shard-rows", "20"),
        ("--level", "0.8"),
        ("captions.csv", "concepts.txt"),
    ),
    "audit-images": Verb(
        ("audit", "{data}/embeddings", "-c", "{data}/lab.txt", "--clip", "lab"),
        ("--threshold", "0.3"),
        ("embeddings", "lab.txt"),
    ),
    "embed": Verb(("embed", "{data}/lab", "--clip", "lab"), ("--text",), ("lab",)),
    "vocab": Verb(
        ("vocab", "{data}/captions.csv", "--shard-rows", "20", "--keep-parts"),
        ("--min-count", "2"),
        ("captions.csv",),
        modes=(PLAIN, OVERWRITE),
        out="v.parquet",
        held="v.parquet.parts",
    ),
    "calibrate": Verb(
        (
            *("calibrate", "{data}/lab", "-c", "{data}/lab.txt", "--clip", "lab"),
            *("--scores-only", "--work", "{place}/work"),
        ),
        ("--rule", "f1"),
        ("lab", "lab.txt"),
        modes=(PLAIN,),
        out="calibration.json",
        held="work",
    ),
    "evaluate": Verb(
        ("evaluate", "{data}/testset", "--clip", "lab"), ("--level", "0.8"), ("testset",)
    ),
    "retrieval": Verb(("retrieval", "{data}/lab", "--clip", "lab"), ("--recall-at", "3"), ("lab",)),
    "longtail": Verb(
        (
            *("longtail", "{data}/audited", "--images", "{data}/lab", "--k", "4"),
            *("--per-class", "2"),
        ),
        ("--per-class", "1"),
        ("audited", "lab"),
        modes=(PLAIN, OVERWRITE),
    ),
    "index": Verb(
        ("index", "build", "{data}/embeddings"),
        ("--seed", "3"),
        ("embeddings",),
        parts=False,
        workers=False,
    ),
    "fit": Verb(
        ("fit", "{data}/audited", "-a", "{data}/accuracies.csv", "--pretraining", "all"),
        ("--zero-policy", "exclude"),
        ("audited", "accuracies.csv"),
        modes=(PLAIN, OVERWRITE),
        parts=False,
        workers=False,
    ),
}
FILES = {
    "predict": (("predict", "{data}/curve", "-f", "{data}/audited"), ("curve", "audited")),
    "plan": (
        ("plan", "{data}/curve", "-f", "{data}/audited", "--target", "0.9"),
        ("curve", "audited"),
    ),
    "compare": (("compare", "{data}/audited", "{data}/audited-text"), ("audited", "audited-text")),
    "report": (("report", "{data}/audited"), ("audited",)),
    "calibrate": (
        ("calibrate", "{data}/lab", "-c", "{data}/lab.txt", "--clip", "lab", "--scores-only"),
        ("lab", "lab.txt"),
    ),
    "vocab": (("vocab", "{data}/captions.csv"), ("captions.csv",)),
}


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith("log.jsonl")
    }


def lay(folder: Path) -> dict[Path, str]:
    """Lay files of the user into a folder and all below it; return what they hold."""
    places = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    texts = {place / name: f"of the user, in {place.name}" for place in places for name in FOREIGN}
    for path, text in texts.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return texts


def survivors(texts: dict[Path, str]) -> dict[Path, str]:
    return {path: path.read_text() if path.is_file() else "gone" for path in texts}

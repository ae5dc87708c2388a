"""What `chaos.py` runs and kills: commands, alone or as parts, by every engine."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CONCEPTS = ["dog", "hot dog", "watch", "cat"]
WORDS = ("a dog", "a cat and a dog", "they watch", "hot dogs", "my watch", "a red bus")

ALL, FIRST, WORKER = "everything", "first process", "one worker"
"""Whom a kill meets: the whole session, its first process alone, a worker that gets replaced."""

Command = list[str]
Plan = list[list[Command]]
"""Steps one after the other; the commands of a step run side by side."""


def _text(data: Path, out: Path) -> Command:
    return [
        *("audit", f"{data}/captions.jsonl", "-c", f"{data}/concepts.txt", "-o", f"{out}/run"),
        *("--shard-rows", "40", "--cooccurrence"),
    ]


def _fast(data: Path, out: Path) -> Command:
    return [
        *("audit", f"{data}/captions.jsonl", "-c", f"{data}/concepts.txt", "-o", f"{out}/run"),
        *("--shard-rows", "40", "--text-mode", "fast", "--text-error", "0.2"),
    ]


def _images(data: Path, out: Path) -> Command:
    return [
        *("audit", f"{data}/lab/*.tar", "-c", f"{data}/lab.txt", "--clip", "lab"),
        *("-o", f"{out}/run", "--near-duplicates", "auto"),
    ]


def _embed(data: Path, out: Path) -> Command:
    return ["embed", f"{data}/lab/*.tar", "--clip", "lab", "-o", f"{out}/run", "--text"]


def _image_tags(data: Path, out: Path) -> Command:
    return [
        *("audit", f"{data}/embeddings", "-c", f"{data}/lab.txt", "--clip", "lab"),
        *("-o", f"{out}/run", "--shard-rows", "10"),
    ]


def _calibrate(data: Path, out: Path) -> Command:
    return [
        *("calibrate", f"{data}/lab/*.tar", "-c", f"{data}/lab.txt", "--clip", "lab"),
        *("-o", f"{out}/calibration.json", "--work", f"{out}/work"),
    ]


def _evaluate(data: Path, out: Path) -> Command:
    return ["evaluate", f"{data}/testset", "--clip", "lab", "-o", f"{out}/run"]


def _longtail(data: Path, out: Path) -> Command:
    return [
        *("longtail", f"{data}/audited", "--images", f"{data}/testset", "-o", f"{out}/run"),
        *("--k", "8"),
    ]


def _vocab(data: Path, out: Path) -> Command:
    return ["vocab", f"{data}/captions.jsonl", "-o", f"{out}/vocab.parquet", "--shard-rows", "40"]


def _report(data: Path, out: Path) -> Command:
    return ["report", f"{data}/audited", "-o", f"{out}/report.html"]


def _index(data: Path, out: Path) -> Command:
    return ["index", "build", f"{data}/embeddings", "-o", f"{out}/run"]


def _fit(data: Path, out: Path) -> Command:
    return [
        *("fit", f"{data}/audited", "-a", f"{data}/accuracies.csv", "--pretraining", "all"),
        *("-o", f"{out}/run"),
    ]


def _compare(data: Path, out: Path) -> Command:
    return [
        *("compare", f"{data}/audited", f"{data}/audited-again", "-o", f"{out}/compared.csv"),
        *("--pairs", f"{out}/pairs.csv", "--figure", f"{out}/compared.svg"),
    ]


COMMANDS: dict[str, Callable[[Path, Path], Command]] = {
    "text-exact": _text,
    "text-fast": _fast,
    "images": _images,
    "embed": _embed,
    "image-tags": _image_tags,
    "calibrate": _calibrate,
    "evaluate": _evaluate,
    "longtail": _longtail,
    "vocab": _vocab,
    "report": _report,
    "index": _index,
    "fit": _fit,
    "compare": _compare,
}
TEXT_ALONE = ("text-exact", "text-fast", "vocab")
WITHOUT_WORKERS = ("report", "index", "fit", "compare")
MERGED = {"vocab": "vocab.parquet", "calibrate": "work"}
"""What `merge` is given where it is no folder called ``run``."""

MOST_NEEDED = 160
"""Pictures that captions teach thresholds from: fewer are refused."""


@dataclass(frozen=True)
class Scenario:
    """A plan, and what may happen to it.

    Parameters
    ----------
    base : str
        The command whose undisturbed result it must give, to the byte.
    plan : callable
        From the folder of the data, the folder to write to and the number of workers.
    workers : tuple of int
        Numbers of workers to choose from.
    victims : tuple of str
        Whom to choose from; where there is one worker, there is only the whole.
    """

    base: str
    plan: Callable[[Path, Path, int], Plan]
    workers: tuple[int, ...] = (1, 2)
    victims: tuple[str, ...] = (ALL, FIRST, WORKER)


def aside(out: Path) -> Path:
    """Where parts write that see no common file system."""
    return out.with_name(f"{out.name}.aside")


def calm(base: str, data: Path, out: Path) -> Command:
    """Return the undisturbed command: one process, no parts."""
    return [*COMMANDS[base](data, out), *_by(base, 1)]


def _by(base: str, workers: int) -> Command:
    return [] if base in WITHOUT_WORKERS else ["--workers", str(workers)]


def _alone(base: str) -> Scenario:
    def plan(data: Path, out: Path, workers: int) -> Plan:
        return [[[*COMMANDS[base](data, out), *_by(base, workers)]]]

    return Scenario(base, plan, workers=(1,) if base in WITHOUT_WORKERS else (1, 2))


def _on_ray(base: str) -> Scenario:
    def plan(data: Path, out: Path, workers: int) -> Plan:
        return [[[*COMMANDS[base](data, out), "--engine", "ray", *_by(base, workers)]]]

    return Scenario(base, plan, workers=(2,))


def _in_parts(base: str) -> Scenario:
    def plan(data: Path, out: Path, workers: int) -> Plan:
        command = [*COMMANDS[base](data, out), *_by(base, workers)]
        parts = [[*command, "--shard", f"{part}/2"] for part in range(2)]
        merged = f"{out}/{MERGED.get(base, 'run')}"
        return [parts, [["merge", merged, *_by(base, workers)]]]

    return Scenario(base, plan, workers=(1,))


def _in_two_places(base: str) -> Scenario:
    def plan(data: Path, out: Path, workers: int) -> Plan:
        places = [aside(out) / str(part) for part in range(2)]
        parts = [
            [*COMMANDS[base](data, place), *_by(base, workers), "--shard", f"{part}/2"]
            for part, place in enumerate(places)
        ]
        folders = [f"{place}/run" for place in places]
        return [parts, [["merge", *folders, "-o", f"{out}/run", *_by(base, workers)]]]

    return Scenario(base, plan, workers=(1,))


SCENARIOS: dict[str, Scenario] = {
    **{base: _alone(base) for base in COMMANDS},
    **{f"{base}-parts": _in_parts(base) for base in COMMANDS if base not in WITHOUT_WORKERS},
    "text-exact-places": _in_two_places("text-exact"),
    **{f"{base}-ray": _on_ray(base) for base in ("text-exact", "embed", "evaluate", "longtail")},
}


def prepare(data: Path, names: set[str], captions: int, run: Callable[[Command], int]) -> None:
    """Write the data that the scenarios read; `run` runs a command and gives its exit code."""
    from conceptaudit.lab import LabConfig, generate, lab_vocabulary, write_image_folder

    data.mkdir(parents=True, exist_ok=True)
    rng = random.Random(0)
    lines = (json.dumps({"caption": f"{rng.choice(WORDS)} {i}"}) for i in range(captions))
    (data / "captions.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (data / "concepts.txt").write_text("\n".join(CONCEPTS) + "\n")
    bases = {SCENARIOS[name].base for name in names}
    if bases <= set(TEXT_ALONE):
        return
    n_images = max(captions // 5, MOST_NEEDED if "calibrate" in bases else 0)
    config = LabConfig(
        n_samples=n_images, shard_size=n_images // 8, image_size=48, truncated_rate=0.05
    )
    generate(config, data / "lab")
    classes = lab_vocabulary(config).names
    (data / "lab.txt").write_text("\n".join(classes) + "\n")
    if bases & {"evaluate", "longtail"}:
        write_image_folder(config, data / "testset", per_concept=2)
    rows = [f"m,lab,{name},{number % 10},10" for number, name in enumerate(classes)]
    header = "model,dataset,concept,n_correct,n_images"
    (data / "accuracies.csv").write_text("\n".join([header, *rows]) + "\n")
    commands = []
    if bases & {"image-tags", "longtail", "report", "index", "fit", "compare"}:
        commands += [["embed", f"{data}/lab/*.tar", "--clip", "lab", "-o", f"{data}/embeddings"]]
    if bases & {"longtail", "report", "fit", "compare"}:
        listed = ["audit", f"{data}/embeddings", "-c", f"{data}/lab.txt", "--clip", "lab"]
        commands += [[*listed, "-o", f"{data}/audited"]]
    if "compare" in bases:
        commands += [[*listed, "-o", f"{data}/audited-again", "--threshold", "0.3"]]
    for command in commands:
        if run([*command, "--workers", "1"]):
            raise SystemExit(f"{' '.join(command)} fails: see the log beside {data}")

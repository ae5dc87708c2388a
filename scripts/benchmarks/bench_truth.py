"""What an audit finds, against the simulator's truth: counts, tags, misalignment, predictions.

    python scripts/benchmarks/bench_truth.py --seeds 3 --samples 3000

Each seed draws a dataset under the frequency law of the bundled CLIP, audits it as a user would,
and compares what is printed with what is true. Then every printed interval is checked against
repeated draws from a known law. It prints a markdown table, which says where a number misses the
bar beside it, and one JSON line. The same arguments give the same numbers.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from truth_coverage import LAWS, fit_coverage, poisson_coverage, wilson_coverage
from truth_measures import (
    INTERVAL,
    Audited,
    Bar,
    Found,
    image_part,
    joint_part,
    prediction_part,
    text_part,
)

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.image.clip import find_clip
from conceptaudit.image.clip_models import LAB
from conceptaudit.image.concept_vectors import DEFAULT_TEMPLATES
from conceptaudit.lab import LabConfig, generate, lab_vocabulary, write_image_folder
from conceptaudit.lab.bundled import lab_training
from conceptaudit.options.audit import DEFAULT_THRESHOLD
from conceptaudit.zeroshot.evaluate import evaluate
from conceptaudit.zeroshot.sets import open_evaluation_set

COPIED = (0.0, 0.04, 0.3)
"""Shares of copied samples for which intervals are checked; 4 % is the lab's own."""

MORE = 10
"""Counts and shares are drawn so many times as often as fits, because that is cheap."""

MISALIGNED = (0.01, 0.1, 0.5)
"""True shares of misaligned samples for which the interval is checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The CLIP model under test, with what its owner says about using it."""

    clip: str
    config: LabConfig
    templates: tuple[str, ...]
    threshold: float

    @classmethod
    def named(cls, clip: str) -> "Model":
        """Take what is recorded beside the bundled model, else the tool's defaults."""
        if clip != LAB:
            return cls(
                clip=clip,
                config=LabConfig(),
                templates=DEFAULT_TEMPLATES,
                threshold=DEFAULT_THRESHOLD,
            )
        training = lab_training()
        return cls(
            clip=clip,
            config=training.config,
            templates=training.templates,
            threshold=training.threshold,
        )

    def dataset(self, seed: int, n_samples: int) -> LabConfig:
        """Return the knobs of one audited dataset; a few links and files are broken."""
        return replace(
            self.config,
            seed=seed,
            n_samples=n_samples,
            shard_size=1_000,
            link_rot_rate=0.02,
            truncated_rate=0.005,
            empty_caption_rate=0.005,
        )


def one_seed(model: Model, seed: int, arguments: argparse.Namespace, folder: Path) -> list[Found]:
    """Draw, audit, evaluate and compare one dataset."""
    config = model.dataset(seed, arguments.samples)
    vocabulary = lab_vocabulary(config)
    data = generate(config, folder / "data").folder
    tests = write_image_folder(config, folder / "test", per_concept=arguments.per_concept)
    options = AuditOptions(clip=model.clip, device="cpu", templates=model.templates)
    run = audit(data, vocabulary, folder / "audit", options=options)
    clip = find_clip(model.clip, device="cpu")
    opened = open_evaluation_set(
        tests, name="balanced", class_names=vocabulary.names, templates=model.templates
    )
    accuracies = evaluate(opened, [clip], folder / "evaluation", workers=1).accuracies
    audited = Audited.of(run, data, vocabulary)
    accuracy = float(accuracies.table["accuracy"].mean())
    return [
        *text_part(audited),
        *image_part(audited, model.threshold),
        *joint_part(audited),
        ("zero-shot", "mean accuracy over all classes", accuracy, None),
        *prediction_part(run, accuracies, "n_text", seed),
        *prediction_part(run, accuracies, "n_joint", seed),
    ]


def coverage_rows(config: LabConfig, repetitions: int) -> Iterator[Found]:
    """Measure the coverage of every printed interval over repeated draws."""
    for copied in COPIED:
        part = f"count interval, {100 * copied:.0f} % copies"
        shares = poisson_coverage(config, copied, MORE * repetitions, seed=0)
        for name, share in shares.items():
            yield part, f"expected count {name}", share, INTERVAL
    for copied in COPIED:
        part = f"misalignment interval, {100 * copied:.0f} % copies"
        for true in MISALIGNED:
            share = wilson_coverage(true, config.n_samples, copied, MORE * repetitions, seed=0)
            yield part, f"true share {100 * true:g} %", share, INTERVAL
    for law in LAWS:
        for name, share in fit_coverage(law, repetitions, seed=0).items():
            yield f"fit, {law.title}", name, share, INTERVAL


def summary(found: Sequence[Found]) -> list[dict[str, Any]]:
    """Reduce the values of all seeds to mean and range, in the order of first appearance."""
    values: dict[tuple[str, str], list[float]] = {}
    bars: dict[tuple[str, str], Bar | None] = {}
    for part, what, value, bar in found:
        values.setdefault((part, what), []).append(float(value))
        bars[part, what] = bar
    rows: list[dict[str, Any]] = []
    for (part, what), numbers in values.items():
        finite = [number for number in numbers if np.isfinite(number)]
        mean = float(np.mean(finite)) if finite else float("nan")
        bar = bars[part, what]
        rows.append(
            {
                "part": part,
                "what": what,
                "mean": mean if finite else None,
                "low": min(finite, default=None),
                "high": max(finite, default=None),
                "bar": str(bar) if bar else "",
                "verdict": bar.verdict(mean) if bar else "",
            }
        )
    return rows


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Lay the rows out as a markdown table."""
    lines = ["| part | measured | mean | range over seeds | bar | |", "|---|---|--:|---|---|---|"]
    for row in rows:
        spread = "" if row["low"] == row["high"] else f"{row['low']:.3f} to {row['high']:.3f}"
        mean = "none" if row["mean"] is None else f"{row['mean']:.3f}"
        verdict = f"**{row['verdict']}**" if row["verdict"] == "BAD" else row["verdict"]
        cells = (row["part"], row["what"], mean, spread, row["bar"], verdict)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clip", default=LAB, help="model to audit and evaluate with")
    parser.add_argument("--seeds", type=int, default=3, help="audited datasets")
    parser.add_argument("--samples", type=int, default=3_000, help="pairs per dataset")
    parser.add_argument("--per-concept", type=int, default=10, help="test images per class")
    parser.add_argument("--repetitions", type=int, default=300, help="of simulated fits")
    parser.add_argument("--only", choices=("audits", "coverage"), help="one half of the work")
    parser.add_argument("--json", action="store_true", help="print the JSON line alone")
    return parser.parse_args(arguments)


def main() -> None:
    """Run all seeds and all repetitions, and print what came out."""
    arguments = parse()
    model = Model.named(arguments.clip)
    found: list[Found] = []
    for seed in range(1, arguments.seeds + 1) if arguments.only != "coverage" else ():
        with tempfile.TemporaryDirectory() as folder:
            found += one_seed(model, seed, arguments, Path(folder))
        print(f"seed {seed} of {arguments.seeds} done", file=sys.stderr)
    if arguments.only != "audits":
        found += coverage_rows(model.dataset(0, arguments.samples), arguments.repetitions)
    rows = summary(found)
    if not arguments.json:
        print(markdown(rows))
    print(json.dumps({"bench": "truth", **vars(arguments), "rows": rows}, allow_nan=False))


if __name__ == "__main__":
    main()

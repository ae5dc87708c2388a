"""How the numbers were made, what they mean, and how to make them again."""

from __future__ import annotations

import json
from typing import Any

from conceptaudit.display import quantity
from conceptaudit.report.inputs import ReportInputs
from conceptaudit.report.markup import Markup, el, join
from conceptaudit.report.sections.base import Section, folded, table

MEANINGS = {
    "In captions": "Samples whose caption names the concept: its words, in any inflection, as a "
    "phrase whose head is a noun (unless the audit was told to match any word).",
    "In images": "Samples whose image is at least as similar to the concept as the threshold "
    "asks, judged by a CLIP model: it sees, and it errs.",
    "In both": "Samples where the same concept is found in the caption and in the image.",
    "Interval of a count": "The Poisson (Garwood) interval of the expected count in another "
    "sample of this size. It covers chance, not mistakes of the tagger.",
    "Misaligned": "Samples with a concept found on both sides and none in common; the interval "
    "is Wilson's.",
    "Per decade": "For ten times as many samples. A slope of 10 points per decade means that 100 "
    "times the data go with 20 points.",
}

KEYS = {
    "concepts": "concepts, digest",
    "pipeline": "language pipeline, digest",
    "pos": "a match must be headed by",
    "nested": "concepts inside longer matches count",
    "clip": "model, digest",
    "thresholds": "thresholds, digest",
    "source": "concept vectors from",
}
"""What the settings of a stage are called on the page."""


def method_section(inputs: ReportInputs) -> Section:
    """Build method and provenance."""
    run = inputs.run
    manifest = run.manifest
    rows: list[list[Any]] = [
        ["Dataset", manifest.get("dataset", "unknown")],
        ["Layout", manifest["reading"].get("layout", "unknown")],
        ["Shards", f"{len(manifest['shards']):,}"],
        ["Concepts", f"{len(run.concepts):,}"],
        ["CLIP model", manifest.get("clip") or "none"],
    ]
    for stage in manifest["settings"]:
        if stage:
            rows += _stage_rows(stage)
    rows += [[f"Version: {name}", version] for name, version in manifest["versions"].items()]
    rows.append(["Digest of the audit", el("code", manifest["digest"])])
    if inputs.curve is not None:
        rows.append(["Digest of the curve", el("code", inputs.curve.digest)])
    body = [
        el("h3", "What each number means"),
        el(
            "dl",
            [[el("dt", name), el("dd", text)] for name, text in MEANINGS.items()],
            class_="terms",
        ),
        el("h3", "What it was made with"),
        table(["what", "value"], rows, caption="Settings, models and versions of this audit"),
        el("h3", "To cite and to repeat"),
        el(
            "p",
            "The audit's manifest.json holds the digests of every input, setting, model and file. "
            "Quote the digest of the audit with any number from this page; whoever repeats the "
            "audit on the same data with the same settings gets the same digest. The method "
            "follows “No ‘Zero-Shot’ Without Exponential Data” (arXiv 2404.04125).",
        ),
        folded("The settings in full", _json(manifest)),
    ]
    return Section(
        identifier="method", title="Method and provenance", short="Method", body=join(body)
    )


def _stage_rows(stage: dict[str, Any]) -> list[list[Any]]:
    named = {"text": "Captions", "embeddings": "Embeddings", "image": "Images"}
    name = named.get(str(stage.get("stage")), str(stage.get("stage")))
    rows = []
    for key, value in stage.items():
        if key not in ("stage", "versions"):
            text = str(value)
            shown = el("code", text) if len(text) > 24 and " " not in text else text
            rows.append([f"{name}: {KEYS.get(key, key.replace('_', ' '))}", shown])
    return rows


def _json(manifest: dict[str, Any]) -> Markup:
    short = {key: value for key, value in manifest.items() if key not in ("files", "notes")}
    if len(short.get("shards", ())) > 20:
        short["shards"] = [*short["shards"][:20], f"… {quantity(len(short['shards']), 'shard')}"]
    return el("pre", json.dumps(short, indent=1, sort_keys=True, ensure_ascii=False), tabindex="0")

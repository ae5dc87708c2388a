"""How the numbers were made, what they mean, and how to make them again."""

from __future__ import annotations

import json
from typing import Any

from conceptaudit.display import quantity
from conceptaudit.report.inputs import ReportInputs
from conceptaudit.report.templating import Section

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

STAGES = {"text": "Captions", "embeddings": "Embeddings", "image": "Images"}

MOST_SHARDS = 20
"""Shards named in the settings; the manifest has them all."""


def method_section(inputs: ReportInputs) -> Section:
    """Build method and provenance."""
    run = inputs.run
    manifest = run.manifest
    rows = [
        ("Dataset", manifest.get("dataset", "unknown"), False),
        ("Layout", manifest["reading"].get("layout", "unknown"), False),
        ("Shards", f"{len(manifest['shards']):,}", False),
        ("Concepts", f"{len(run.concepts):,}", False),
        ("CLIP model", manifest.get("clip") or "none", False),
    ]
    for stage in manifest["settings"]:
        if stage:
            rows += _stage_rows(stage)
    rows += [(f"Version: {name}", version, False) for name, version in manifest["versions"].items()]
    rows.append(("Digest of the audit", manifest["digest"], True))
    if inputs.curve is not None:
        rows.append(("Digest of the curve", inputs.curve.digest, True))
    return Section(
        identifier="method",
        title="Method and provenance",
        short="Method",
        values={"meanings": MEANINGS, "rows": rows, "manifest": _short_manifest(manifest)},
    )


def _stage_rows(stage: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Name each setting of a stage, with its value and whether that is shown as code."""
    name = STAGES.get(str(stage.get("stage")), str(stage.get("stage")))
    return [
        (
            f"{name}: {KEYS.get(key, key.replace('_', ' '))}",
            str(value),
            len(str(value)) > 24 and " " not in str(value),
        )
        for key, value in stage.items()
        if key not in ("stage", "versions")
    ]


def _short_manifest(manifest: dict[str, Any]) -> str:
    short = {key: value for key, value in manifest.items() if key not in ("files", "notes")}
    if len(short.get("shards", ())) > MOST_SHARDS:
        more = f"… {quantity(len(short['shards']), 'shard')}"
        short["shards"] = [*short["shards"][:MOST_SHARDS], more]
    return json.dumps(short, indent=1, sort_keys=True, ensure_ascii=False)

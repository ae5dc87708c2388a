"""What a run rests on, as BibTeX: models, taggers, word lists, reference counts, methods."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from conceptaudit.artifacts import MANIFEST, Json, read_json
from conceptaudit.errors import ConfigError
from conceptaudit.store.layouts import LAYOUTS

_ENTRIES = {
    "udandarao2024": (
        "inproceedings",
        (
            "Vishaal Udandarao and Ameya Prabhu and Adhiraj Ghosh and Yash Sharma and Philip H. S. "
            "Torr and Adel Bibi and Samuel Albanie and Matthias Bethge"
        ),
        (
            'No "Zero-Shot" Without Exponential Data: Pretraining Concept Frequency Determines '
            "Multimodal Model Performance"
        ),
        "2024",
        "arXiv:2404.04125",
    ),
    "open_clip": (
        "software",
        "Gabriel Ilharco and Mitchell Wortsman and Ross Wightman and others",
        "OpenCLIP",
        "2021",
        "github.com/mlfoundations/open_clip",
    ),
    "radford2021": (
        "inproceedings",
        "Alec Radford and Jong Wook Kim and Chris Hallacy and others",
        "Learning Transferable Visual Models From Natural Language Supervision",
        "2021",
        "arXiv:2103.00020",
    ),
    "schuhmann2021": (
        "misc",
        "Christoph Schuhmann and Richard Vencu and Romain Beaumont and others",
        "LAION-400M: Open Dataset of CLIP-Filtered 400 Million Image-Text Pairs",
        "2021",
        "arXiv:2111.02114",
    ),
    "schuhmann2022": (
        "inproceedings",
        "Christoph Schuhmann and Romain Beaumont and Richard Vencu and others",
        "LAION-5B: An Open Large-Scale Dataset for Training Next Generation Image-Text Models",
        "2022",
        "arXiv:2210.08402",
    ),
    "cherti2023": (
        "inproceedings",
        "Mehdi Cherti and Romain Beaumont and Ross Wightman and others",
        "Reproducible Scaling Laws for Contrastive Language-Image Learning",
        "2023",
        "arXiv:2212.07143",
    ),
    "gadre2023": (
        "inproceedings",
        "Samir Yitzhak Gadre and Gabriel Ilharco and Alex Fang and others",
        "DataComp: In Search of the Next Generation of Multimodal Datasets",
        "2023",
        "arXiv:2304.14108",
    ),
    "fang2023": (
        "misc",
        "Alex Fang and Albin Madappally Jose and Amit Jain and others",
        "Data Filtering Networks",
        "2023",
        "arXiv:2309.17425",
    ),
    "xu2024": (
        "inproceedings",
        "Hu Xu and Saining Xie and Xiaoqing Ellen Tan and others",
        "Demystifying CLIP Data",
        "2024",
        "arXiv:2309.16671",
    ),
    "zhai2023": (
        "inproceedings",
        "Xiaohua Zhai and Basil Mustafa and Alexander Kolesnikov and Lucas Beyer",
        "Sigmoid Loss for Language Image Pre-Training",
        "2023",
        "arXiv:2303.15343",
    ),
    "spacy": (
        "software",
        "Matthew Honnibal and Ines Montani and Sofie Van Landeghem and Adriane Boyd",
        "spaCy: Industrial-strength Natural Language Processing in Python",
        "2020",
        "spacy.io",
    ),
    "silveira2014": (
        "inproceedings",
        (
            "Natalia Silveira and Timothy Dozat and Marie-Catherine de Marneffe and Samuel Bowman "
            "and Miriam Connor and John Bauer and Christopher D. Manning"
        ),
        "A Gold Standard Dependency Corpus for English",
        "2014",
        "LREC 2014",
    ),
    "mccrae2019": (
        "inproceedings",
        "John P. McCrae and Alexandre Rademaker and Francis Bond and others",
        "English WordNet 2019: An Open-Source WordNet for English",
        "2019",
        "Global WordNet Conference",
    ),
    "douze2024": (
        "misc",
        "Matthijs Douze and Alexandr Guzhva and Chengqi Deng and others",
        "The Faiss Library",
        "2024",
        "arXiv:2401.08281",
    ),
    "wen2024": (
        "inproceedings",
        "Xin Wen and Bingchen Zhao and Yilun Chen and Jiangmiao Pang and Xiaojuan Qi",
        (
            "What Makes CLIP More Robust to Long-Tailed Pre-Training Data? A Controlled Study for "
            "Transferable Insights"
        ),
        "2024",
        "arXiv:2405.21070",
    ),
    "liu2025": (
        "inproceedings",
        "Tian Liu and Huixin Zhang and Shubham Parashar and Shu Kong",
        "Few-Shot Recognition via Stage-Wise Retrieval-Augmented Finetuning",
        "2025",
        "arXiv:2406.11148",
    ),
}

_REFERENCE_COUNTS = (("/clip-beyond-tail", "wen2024"), ("/swat", "liu2025"))
"""Endings of the names of reference counts by others than the paper, which is cited anyway."""

_WEIGHTS = (
    ("openai", ("radford2021",)),
    ("laion400m", ("schuhmann2021",)),
    ("laion2b", ("schuhmann2022", "cherti2023")),
    ("laion5b", ("schuhmann2022",)),
    ("datacomp", ("gadre2023",)),
    ("commonpool", ("gadre2023",)),
    ("dfn", ("fang2023",)),
    ("metaclip", ("xu2024",)),
    ("siglip", ("zhai2023",)),
)
"""What a part of a model's or its weights' name stands for."""


def cited(folder: str | Path) -> str:
    """Return BibTeX of what a finished run rests on."""
    folder = Path(folder)
    manifest = read_json(folder / MANIFEST) if (folder / MANIFEST).is_file() else None
    if not isinstance(manifest, dict) or manifest.get("kind") not in LAYOUTS:
        raise ConfigError(f"{folder} holds no finished run: {MANIFEST} is missing or foreign.")
    keys = ["udandarao2024", *_keys(manifest)]
    versions = manifest.get("versions")
    version = versions.get("conceptaudit", "") if isinstance(versions, dict) else ""
    own = (
        "@software{conceptaudit,\n  author = {{The conceptaudit contributors}},\n"
        "  title = {conceptaudit: Concept Frequency in Image-Caption Data},\n"
        f"  version = {{{version}}},\n"
        "}"
    )
    return "\n\n".join([own, *(_entry(key) for key in dict.fromkeys(keys))])


def _keys(manifest: dict[str, Json]) -> Iterator[str]:
    """Yield the keys of what a manifest names."""
    pipeline = manifest.get("pipeline")
    if isinstance(pipeline, dict):
        yield "spacy"
        if pipeline.get("name") == "bundled":
            yield "silveira2014"
            yield "mccrae2019"
    named = {key: manifest.get(key) for key in ("clip", "models", "model", "settings")}
    text = json.dumps(named).casefold()
    models = [word for word, _ in _WEIGHTS if word in text]
    if manifest.get("clip") or manifest.get("models") or models:
        yield "open_clip"
    for word, keys in _WEIGHTS:
        if word in models:
            yield from keys
    if manifest["kind"] == "index":
        yield "douze2024"
    references = json.dumps(manifest.get("reference_counts"))
    for ending, key in _REFERENCE_COUNTS:
        if ending in references:
            yield key


def _entry(key: str) -> str:
    kind, author, title, year, where = _ENTRIES[key]
    place = "eprint" if where.startswith("arXiv:") else "howpublished"
    more = ", archiveprefix = {arXiv}" if place == "eprint" else ""
    return (
        f"@{kind}{{{key},\n  author = {{{author}}},\n  title = {{{{{title}}}}},\n"
        f"  year = {{{year}}},\n  {place} = {{{where.removeprefix('arXiv:')}}}{more},\n}}"
    )

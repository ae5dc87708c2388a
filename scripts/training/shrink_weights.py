"""Round the bundled models' weights so that the wheel packs well, where no answer depends on it.

    python scripts/training/shrink_weights.py

Float32 weights of the noun tagger keep 11 of 23 bits of their mantissa (a relative change of at
most 2e-4). Of the lab's CLIP, token embeddings of words that no simulated caption has are random
numbers as they were before training; they keep 4 of 10 bits. The files stay as long as they are:
what is rounded away are zeros, which a wheel's compression takes out. Run after training; running
it twice changes nothing.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import open_clip
import srsly
from safetensors.numpy import load_file, save_file

ROOT = Path(__file__).parents[2] / "conceptaudit"
TAGGER = ROOT / "text" / "models" / "en_caption_nouns" / "tok2vec" / "model"
LAB = ROOT / "lab" / "models" / "lab-clip" / "open_clip_model.safetensors"
DROPPED_FLOAT32, DROPPED_FLOAT16 = 12, 6
TEMPLATES = ("a photo of a {}", "{}", "picture of a {}", "a {} on a white background")
BYTES = 512
"""Rows of the tokenizer's single bytes come first: any word may be spelt with them."""


def rounded(array: npt.NDArray[np.floating], bits: int) -> npt.NDArray[np.floating]:
    """Round to the nearest number whose last `bits` bits are zero."""
    unsigned = {2: np.uint16, 4: np.uint32}[array.itemsize]
    whole = np.ascontiguousarray(array).view(unsigned).astype(np.uint64)
    kept = (whole + (1 << (bits - 1))) >> bits << bits
    return kept.astype(unsigned).view(array.dtype).reshape(array.shape)


def shrink_tagger(path: Path) -> None:
    """Round every weight of the tagger."""
    model = srsly.msgpack_loads(path.read_bytes())
    for node in model["params"]:
        for name, value in node.items():
            if isinstance(value, np.ndarray):
                node[name] = rounded(value, DROPPED_FLOAT32)
    path.write_bytes(srsly.msgpack_dumps(model))


def lab_tokens() -> npt.NDArray[np.int64]:
    """Return every token that a caption of the lab, or a prompt for its concepts, can hold."""
    data = ROOT / "lab" / "data"
    text = (data / "captions.toml").read_text(encoding="utf-8")
    text += (data / "concepts.csv").read_text(encoding="utf-8") + "\n".join(TEMPLATES)
    words = sorted({word for line in text.splitlines() for word in re.split(r"[\s,|/]+", line)})
    tokenizer = open_clip.SimpleTokenizer()
    used = {token for word in words for token in tokenizer.encode(word)}
    return np.array(sorted(used | set(range(BYTES))))


def shrink_lab(path: Path) -> int:
    """Round the embeddings of tokens that no caption has; return how many those are."""
    weights = load_file(path)
    table = weights["token_embedding.weight"]
    unused = np.ones(len(table), dtype=bool)
    unused[lab_tokens()] = False
    unused[-2:] = False  # start and end of text
    table[unused] = rounded(table[unused], DROPPED_FLOAT16)
    save_file(weights, path)
    return int(unused.sum())


def main() -> None:
    """Shrink both."""
    shrink_tagger(TAGGER)
    print(f"{shrink_lab(LAB):,} token embeddings rounded")


if __name__ == "__main__":
    main()

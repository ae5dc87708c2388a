"""A tiny pool of generated pictures, an audit of its concepts, an encoder that sees colours."""

import io
import json
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conceptaudit.artifacts import MANIFEST, file_digest, write_json, write_npy, write_parquet
from conceptaudit.frequency.counting import frequency_table
from conceptaudit.longtail.source import CONCEPTS, FREQUENCIES, VECTORS
from conceptaudit.records import Concept, ConceptVocabulary

COLOURS = {
    "red": (200, 60, 60),
    "green": (60, 200, 60),
    "blue": (60, 60, 200),
    "yellow": (190, 190, 40),
    "violet": (170, 40, 190),
}
N_TEXTURE = 16


@dataclass(frozen=True)
class ColourEncoder:
    """Sees which colour a picture has on average, and a little of where it is light."""

    name: str = "colours"
    digest: str = "colours-1"
    dimension: int = len(COLOURS) + N_TEXTURE
    device: str = "cpu"
    calls: list[int] = field(default_factory=list)

    def encode_images(self, images):
        self.calls.append(len(images))
        return np.stack([self._encode(image) for image in images])

    def encode_texts(self, texts):
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            vectors[row, [name in text for name in COLOURS].index(True)] = 1.0
        return vectors

    def _encode(self, image):
        pixels = np.asarray(image.resize((64, 64)), dtype=np.float64)
        mean = pixels.mean(axis=(0, 1))
        far = np.array([np.abs(mean - colour).sum() for colour in COLOURS.values()])
        light = pixels.mean(axis=2).reshape(4, 16, 4, 16).mean(axis=(1, 3)).ravel()
        texture = (light - light.mean()) / (light.std() + 1e-9) / 8
        vector = np.concatenate([np.exp(-far / 60), texture]).astype(np.float32)
        return vector / np.linalg.norm(vector)


def picture(colour: str, seed: int, *, size: int = 96) -> Image.Image:
    """A texture of its own in one colour."""
    rng = np.random.default_rng(seed)
    noise = Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8))
    shade = np.asarray(noise.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float64)
    tint = np.array(COLOURS[colour]) + 0.45 * (shade - shade.mean())[..., None]
    return Image.fromarray(np.clip(tint, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **settings: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=kind, **settings)
    return stream.getvalue()


def write_audit(
    folder: Path,
    counts: dict[str, int],
    *,
    sides: tuple[str, ...] = ("text", "image", "joint"),
    clip: str | None = "colours",
    vectors: np.ndarray | None = None,
    source: str = "colours-1",
    concepts: tuple[Concept, ...] = (),
) -> Path:
    """Write what an audit leaves in its run folder."""
    folder.mkdir(parents=True)
    vocabulary = ConceptVocabulary(concepts or tuple(Concept(name=name) for name in counts))
    numbers = np.array(list(counts.values()), dtype=np.int64)
    table = frequency_table(vocabulary, dict.fromkeys(sides, numbers)).table
    write_parquet(folder / FREQUENCIES, table)
    rows = [{"concept": c.name, "aliases": list(c.aliases), "prompts": []} for c in vocabulary]
    write_json(folder / CONCEPTS, rows)
    if vectors is not None:
        write_npy(folder / VECTORS, vectors)
    names = [path.name for path in folder.iterdir()]
    write_json(
        folder / MANIFEST,
        {
            "kind": "audit",
            "digest": "d",
            "dataset": "captions.parquet",
            "clip": clip,
            "settings": [None, None, {"stage": "image", "source": source}],
            "files": {name: file_digest(folder / name) for name in names},
        },
    )
    return folder


@pytest.fixture
def encoder() -> ColourEncoder:
    return ColourEncoder()


@pytest.fixture
def run(tmp_path: Path, encoder: ColourEncoder) -> Path:
    """Five concepts: yellow never seen, violet the rarest of the others."""
    counts = {"red": 900, "green": 70, "blue": 12, "yellow": 0, "violet": 3}
    vectors = encoder.encode_texts(list(counts))
    return write_audit(tmp_path / "run", counts, vectors=vectors)


@pytest.fixture
def make_pool(tmp_path: Path) -> Callable[..., Path]:
    """Write pictures as an image folder: key to file contents."""

    def make(files: dict[str, bytes], name: str = "pool") -> Path:
        folder = tmp_path / name
        for key, data in files.items():
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return folder

    return make


@pytest.fixture
def plain_files() -> dict[str, bytes]:
    """Eight different pictures of each of three colours."""
    return {
        f"{colour}{i}.png": encoded(picture(colour, 100 * c + i))
        for c, colour in enumerate(("green", "blue", "violet"))
        for i in range(8)
    }


def tree(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def manifest_of(folder: Path) -> dict[str, object]:
    return json.loads((folder / MANIFEST).read_text())


@pytest.fixture
def plain_pool(make_pool, plain_files) -> Path:
    """The plain files as an image folder."""
    return make_pool(plain_files)


@pytest.fixture
def tools(encoder: ColourEncoder) -> types.SimpleNamespace:
    """Functions of this module, which test modules cannot import, and the encoder in use."""
    return types.SimpleNamespace(
        picture=picture,
        encoded=encoded,
        write_audit=write_audit,
        tree=tree,
        manifest_of=manifest_of,
        encoder=encoder,
    )

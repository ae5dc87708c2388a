"""Blocks, threads, shared pictures, and memory that runs out."""

import io
import logging
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import pytest
import torch
from PIL import Image

from conceptaudit.errors import ConceptAuditError, ConfigError, DataError
from conceptaudit.image.clip import find_clip
from conceptaudit.image.decode_pool import Block, Failure, load_blocks
from conceptaudit.image.encode import ENCODE_BATCH, OomSafeEncoder, encode_shard
from conceptaudit.image.network import Preprocessing
from conceptaudit.image.thumbnails import COLOUR_BYTES
from conceptaudit.records import SampleBatch


@dataclass(frozen=True)
class SmallMemory:
    """A model whose GPU holds `room` pictures at a time, and whose CPU holds `cpu_room`."""

    room: int
    cpu_room: int = 1_000
    device: str = "cuda:0"
    dimension: int = 3
    batch: int = ENCODE_BATCH
    calls: list[tuple[str, int]] = field(default_factory=list)

    def prepare(self, image: Image.Image) -> torch.Tensor:
        return torch.from_numpy(np.asarray(image, dtype=np.uint8).copy()).permute(2, 0, 1)

    def encode_pixels(self, pixels: torch.Tensor) -> np.ndarray:
        self.calls.append((self.device, len(pixels)))
        if len(pixels) > (self.cpu_room if self.device == "cpu" else self.room):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return pixels.float().mean(dim=(2, 3)).numpy()

    def launch_pixels(self, pixels: torch.Tensor):
        vectors = self.encode_pixels(pixels)
        return lambda: vectors

    def on(self, device: str) -> Self:
        return replace(self, device=device)


def colours(n: int) -> torch.Tensor:
    return torch.arange(n, dtype=torch.uint8)[:, None, None, None].expand(n, 3, 2, 2)


def picture(seed: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (seed % 256, 0, seed // 256)).save(stream, "PNG")
    return stream.getvalue()


def batch(images: list[bytes | None], first: int = 0) -> SampleBatch:
    ids = np.arange(first, first + len(images), dtype=np.int64)
    return SampleBatch(sample_ids=ids, keys=[str(i) for i in ids], images=images)


@pytest.mark.parametrize("room", [64, 63, 20, 1])
def test_smaller_blocks_when_memory_runs_out(room: int, caplog: pytest.LogCaptureFixture) -> None:
    model = SmallMemory(room=room)
    encode = OomSafeEncoder(model)
    with caplog.at_level(logging.WARNING):
        vectors = encode(colours(100))
    np.testing.assert_array_equal(vectors[:, 0], np.arange(100))
    assert encode.block <= room
    assert encode.model.device == "cuda:0"
    assert ("smaller" in caplog.text or "blocks of" in caplog.text) == (room < 64)
    model.calls.clear()
    encode(colours(100))
    assert max(n for _, n in model.calls) <= room, "it goes back to blocks that do not fit"


def test_the_cpu_when_not_one_picture_fits(caplog: pytest.LogCaptureFixture) -> None:
    model = SmallMemory(room=0)
    encode = OomSafeEncoder(model)
    with caplog.at_level(logging.WARNING):
        vectors = encode(colours(100))
    np.testing.assert_array_equal(vectors[:, 1], np.arange(100))
    assert encode.model.device == "cpu"
    assert encode.block == ENCODE_BATCH
    assert "going on on the CPU" in caplog.text


def test_no_memory_anywhere_is_told() -> None:
    with pytest.raises(ConceptAuditError, match="smaller model"):
        OomSafeEncoder(SmallMemory(room=0, cpu_room=0))(colours(3))


def test_a_shard_survives_a_full_gpu() -> None:
    images = [picture(i) for i in range(150)]
    plain = encode_shard([batch(images)], SmallMemory(room=1000), threads=2)
    tight = encode_shard([batch(images)], SmallMemory(room=3), threads=2)
    np.testing.assert_array_equal(tight.vectors, plain.vectors)


@pytest.mark.parametrize("threads", [1, 4])
def test_blocks_come_in_order_with_failures_in_their_place(threads: int) -> None:
    data = [picture(i) if i % 7 else b"broken" for i in range(150)]
    found = list(load_blocks(data, SmallMemory(room=1), size=10, threads=threads))
    blocks = [part for part in found if isinstance(part, Block)]
    assert [len(block.numbers) for block in blocks[:-1]] == [10] * (len(blocks) - 1)
    numbers = [number for block in blocks for number in block.numbers]
    assert numbers == [i for i in range(150) if i % 7]
    assert [int(p[0, 0, 0]) for block in blocks for p in block.pixels] == numbers
    assert [part.number for part in found if isinstance(part, Failure)] == list(range(0, 150, 7))


def test_reading_stays_only_a_few_blocks_ahead() -> None:
    taken = 0

    def source():
        nonlocal taken
        for i in range(1000):
            taken += 1
            yield picture(i)

    blocks = load_blocks(source(), SmallMemory(room=1), size=16, threads=2)
    next(blocks)
    assert taken <= 16 * 5
    blocks.close()


def test_a_picture_shared_by_samples_is_embedded_once() -> None:
    """Five captions each; the sixth batch shares with the first; a broken one is dropped thrice."""
    images = [picture(i // 5) for i in range(50)] + [b"broken", None, b"broken", picture(0)]
    model = SmallMemory(room=1000)
    whole = encode_shard([batch(images)], model, threads=2)
    assert sum(n for _, n in model.calls) == 10
    assert whole.vectors[:50, 0].tolist() == [i // 5 for i in range(50)]
    assert whole.usable.tolist() == [True] * 50 + [False] * 3 + [True]
    assert [drop.sample_id for drop in whole.drops] == [50, 52]
    assert whole.digests[51] == ""
    assert whole.digests[50] == whole.digests[52] != ""
    assert len(whole.thumbnails[0]) == COLOUR_BYTES
    assert whole.thumbnails[51] == b""
    cut = encode_shard([batch(images[:20]), batch(images[20:], 20)], model, threads=1)
    np.testing.assert_array_equal(cut.vectors, whole.vectors)
    assert cut.keys == whole.keys
    assert cut.n_used == whole.n_used == 51


def test_nothing_to_encode() -> None:
    nothing = encode_shard([], SmallMemory(room=1))
    assert nothing.vectors.shape == (0, 3)
    assert encode_shard([batch([None])], SmallMemory(room=1)).n_used == 0


def test_the_real_model_gives_the_same_bytes_for_any_threads(tiny_clip: Path) -> None:
    rng = np.random.default_rng(0)
    images = []
    for _ in range(ENCODE_BATCH + 9):
        stream = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(stream, "JPEG")
        images.append(stream.getvalue())
    clip = find_clip(str(tiny_clip), device="cpu")
    runs = [encode_shard([batch(images)], clip, threads=n).vectors for n in (1, 3)]
    np.testing.assert_array_equal(*runs)
    opened = [Image.open(io.BytesIO(data)).convert("RGB") for data in images]
    np.testing.assert_allclose(runs[0], clip.encode_images(opened), atol=1e-3)


def test_a_preprocessing_of_another_make_is_used_whole() -> None:
    halves = Preprocessing.of(lambda image: torch.full((3, 2, 2), float(image.width)))
    pixels = halves.prepare(Image.new("RGB", (5, 5)))[None]
    assert halves.finish(pixels) is pixels


@pytest.fixture(scope="module")
def pickled(tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's folder with a pickle in place of its safetensors."""
    from safetensors.torch import load_file

    folder = tmp_path_factory.mktemp("pickled")
    config = (tiny_clip / "open_clip_config.json").read_text()
    (folder / "open_clip_config.json").write_text(config)
    state = load_file(tiny_clip / "open_clip_model.safetensors")
    torch.save(state, folder / "open_clip_pytorch_model.bin")
    return folder


class TestWeights:
    def test_refused_unless_allowed(
        self, pickled: Path, tiny_clip: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(ConfigError, match="--allow-pickle-weights"):
            find_clip(str(pickled), device="cpu")
        with caplog.at_level(logging.WARNING):
            clip = find_clip(str(pickled), device="cpu", allow_pickle_weights=True)
        assert "restricted unpickler" in caplog.text
        assert clip.digest == find_clip(str(tiny_clip), device="cpu").digest
        with pytest.raises(ConfigError, match="pickle"):
            find_clip(str(pickled), device="cpu")

    @pytest.mark.parametrize("name", ["w.pt", "w.bin", "weights", "w.safetensors.pt"])
    def test_whatever_its_name(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(b"\x80\x04.")
        with pytest.raises(ConfigError, match="pickled checkpoint"):
            find_clip(f"ViT-B-32/{tmp_path / name}", device="cpu")

    def test_a_pickle_that_would_run_code_does_not(self, pickled: Path, tmp_path: Path) -> None:
        """Even where pickles are allowed: the restricted unpickler builds tensors only."""
        folder = tmp_path / "evil"
        folder.mkdir()
        config = (pickled / "open_clip_config.json").read_text()
        (folder / "open_clip_config.json").write_text(config)
        victim = tmp_path / "touched"
        make = (
            "import os, sys, torch\n"
            "class Evil:\n"
            "    def __reduce__(self): return os.mkdir, (sys.argv[1],)\n"
            "torch.save({'a': Evil()}, sys.argv[2])\n"
        )
        target = folder / "open_clip_pytorch_model.bin"
        subprocess.run([sys.executable, "-c", make, str(victim), str(target)], check=True)
        with pytest.raises(DataError, match="cannot be loaded"):
            find_clip(str(folder), device="cpu", allow_pickle_weights=True)
        assert not victim.exists()

    def test_damaged_safetensors(self, tiny_clip: Path, tmp_path: Path) -> None:
        config = (tiny_clip / "open_clip_config.json").read_text()
        (tmp_path / "open_clip_config.json").write_text(config)
        whole = (tiny_clip / "open_clip_model.safetensors").read_bytes()
        (tmp_path / "open_clip_model.safetensors").write_bytes(whole[:5000])
        with pytest.raises(DataError, match="cannot be loaded"):
            find_clip(str(tmp_path), device="cpu")

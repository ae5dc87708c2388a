"""open_clip models: finding them, identifying them, encoding images and texts.

A product that several threads share is summed up in another order than one thread's, and rounds
otherwise. So on processors each part of a batch is computed by one thread, and parts side by side:
the same bits for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from conceptaudit.artifacts import package_versions
from conceptaudit.errors import ConceptAuditError, ConfigError, DataError
from conceptaudit.image.clip_models import (
    CONFIG,
    HUB,
    ModelName,
    cached_or_fetched,
    check_weights,
    load_failures,
    needs,
    parse_name,
)
from conceptaudit.image.encode import ENCODE_BATCH, Pending
from conceptaudit.image.network import Preprocessing, configuration_of, network_digest
from conceptaudit.image.thumbnails import THUMBNAILS
from conceptaudit.image.vectors import unit_rows
from conceptaudit.records import Float32Array

if TYPE_CHECKING:
    from PIL import Image


T = TypeVar("T")
Part = TypeVar("Part")

CPU_BATCH, TEXT_BATCH = 16, 256
"""Images or texts that one thread passes through a model together, fixed like `ENCODE_BATCH`; texts
that a GPU takes."""


def deterministic_map(function: Callable[[Part], Any], parts: Sequence[Part]) -> list[Any]:
    """Apply a function of torch to parts, each in one thread: the same bits for any number."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that start from here on take this over
    try:
        if threads == 1 or len(parts) < 2:
            return [function(part) for part in parts]
        with ThreadPoolExecutor(min(threads, len(parts))) as pool:
            return list(pool.map(function, parts))
    finally:
        torch.set_num_threads(threads)


BFLOAT16_FROM, FLOAT16_FROM = 8, 7
"""Compute capabilities (major) from which tensor cores take these types: Ampere and Volta."""


def find_device(name: str) -> str:
    """Resolve ``"auto"`` to the first GPU where there is one; refuse a device that is not there."""
    if name == "cpu":
        return name
    import torch

    there = torch.cuda.is_available()
    if name == "auto":
        return "cuda:0" if there else "cpu"
    if not name.startswith("cuda") or not there:
        raise ConfigError(
            f"The device (--device) must be 'auto', 'cpu' or 'cuda:0', with a GPU that torch sees. "
            f"Got {name!r} instead{'' if there else ', and torch sees no CUDA device'}."
        )
    return "cuda:0" if name == "cuda" else name


def precision_on(device: str) -> Any:
    """Type that a device computes with: on GPUs the half precision that its tensor cores have."""
    import torch

    if not device.startswith("cuda"):
        return torch.float32
    capability, _ = torch.cuda.get_device_capability(device)
    if capability >= BFLOAT16_FROM:
        return torch.bfloat16
    return torch.float16 if capability >= FLOAT16_FROM else torch.float32


def fitted(module_or_pixels: Any, device: str) -> Any:
    """Give weights (once, not at every pass) or pixels the type and order that a GPU is fastest in.

    Convolutions on tensor cores want channels last.
    """
    import torch

    if not device.startswith("cuda"):
        return module_or_pixels
    return module_or_pixels.to(precision_on(device), memory_format=torch.channels_last)


GPU_BATCH = 256
"""Images per forward pass on a GPU unless --batch-size says otherwise: 39 MB at 224 pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipModel:
    """An open_clip model with weights; cheap to send to a worker, loaded there on first use."""

    name: str  # as the user wrote it
    # SHA-256 of the weights and the configuration (activation, preprocessing, tokenizer …; see
    # `conceptaudit.image.network`): part of every image digest
    digest: str
    dimension: int
    device: str = "cpu"  # ``"cpu"`` or ``"cuda:0"``
    batch: int = ENCODE_BATCH  # images per forward pass
    # whether a checkpoint that is a pickle may be opened; see `find_clip`
    allow_pickle_weights: bool = False
    notes: tuple[str, ...] = ()  # what a reader of the results has to know of the model
    # what decides its vectors beside the weights; for manifests
    configuration: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def precision(self) -> str:
        """Type of the numbers that it computes with, such as ``"bfloat16"``."""
        return str(precision_on(self.device)).removeprefix("torch.")

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that can change an embedding."""
        return {
            "clip": self.digest,
            "device": self.device.split(":")[0],
            "batch": self.batch,
            "precision": self.precision,
            "thumbnails": THUMBNAILS,
            "versions": package_versions("open_clip_torch", "torch", "pillow"),
        }

    def on(self, device: str) -> ClipModel:
        """Return the same model on another device."""
        return replace(self, device=device)

    def prepare(self, image: Image.Image) -> Any:
        """Scale and crop one RGB image as the model does: uint8, shape (3, height, width).

        Or float32, where the preprocessing is of an unknown kind.
        """
        return _preprocessing(self.name, self.device, self.allow_pickle_weights).prepare(image)

    def encode_pixels(self, pixels: Any) -> Float32Array:
        """Embed images that `prepare` made, shape (n, 3, height, width), to unit vectors."""
        return self.launch_pixels(pixels)()

    def launch_pixels(self, pixels: Any) -> Pending:
        """Begin to embed images; a GPU is not waited for if pixels lie in page-locked memory."""
        import torch

        if self.device == "cpu":
            parts = deterministic_map(self._forward, pixels.split(CPU_BATCH))
            vectors = np.concatenate([unit_rows(part.numpy()) for part in parts])
            return lambda: vectors
        vectors_there = self._forward(pixels)
        vectors_here = torch.empty(vectors_there.shape, pin_memory=True)
        vectors_here.copy_(vectors_there, non_blocking=True)
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call] # torch has no types for it
        copied.record()

        def wait() -> Float32Array:
            copied.synchronize()
            return unit_rows(vectors_here.numpy())

        return wait

    def _forward(self, pixels: Any) -> Any:
        """Vectors of images, float32, on the model's device."""
        import torch

        loaded = self._loaded()
        with torch.inference_mode():
            ready = loaded.pixels.finish(pixels.to(self.device, non_blocking=True))
            return loaded.model.encode_image(fitted(ready, self.device)).float()

    def encode_images(self, images: Sequence[Image.Image]) -> Float32Array:
        """Embed RGB images to unit vectors, shape (n, dimension)."""
        import torch

        return self.encode_pixels(torch.stack([self.prepare(image) for image in images]))

    def _loaded(self) -> _Loaded:
        return _load(self.name, self.device, self.allow_pickle_weights)

    def encode_texts(self, texts: Sequence[str]) -> Float32Array:
        """Embed texts to unit vectors, shape (n, dimension)."""
        on_cpu = self.device == "cpu"
        size = CPU_BATCH if on_cpu else TEXT_BATCH
        blocks = [list(texts[start : start + size]) for start in range(0, len(texts), size)]
        passed = (
            deterministic_map(self._pass_texts, blocks) if on_cpu else map(self._pass_texts, blocks)
        )
        return unit_rows(np.concatenate(list(passed)))

    def _pass_texts(self, texts: Sequence[str]) -> Float32Array:
        import torch

        loaded = self._loaded()
        tokens = loaded.tokenizer(list(texts)).to(self.device)
        with torch.inference_mode():
            vectors: Float32Array = loaded.model.encode_text(tokens).float().cpu().numpy()
        return vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    model: Any
    pixels: Preprocessing
    tokenizer: Any
    digest: str
    notes: tuple[str, ...]
    configuration: Mapping[str, Any]


def find_clip(
    name: str,
    *,
    device: str = "auto",
    allow_pickle_weights: bool = False,
    batch_size: int | None = None,
) -> ClipModel:
    """Find an open_clip model and load it once to identify it.

    It is named ``"lab"`` (bundled), ``"MODEL/WEIGHTS"`` as open_clip names them or with a path,
    ``"MODEL/untrained"`` (random weights, for trying things out), ``"hf-hub:ORGANISATION/NAME"``,
    or by a folder with ``open_clip_config.json`` and ``open_clip_model.safetensors``.

    >>> find_clip("lab", device="cpu").dimension > 0
    True
    """
    if batch_size is not None and batch_size < 1:
        raise ConfigError(f"--batch-size must be at least 1. Got {batch_size} instead.")
    device = find_device(device)
    loaded = _load(name, device, allow_pickle_weights)
    dimension = _dimension(loaded, name, device)
    return ClipModel(
        name=name,
        digest=loaded.digest,
        dimension=dimension,
        device=device,
        batch=batch_size or (ENCODE_BATCH if device == "cpu" else GPU_BATCH),
        allow_pickle_weights=allow_pickle_weights,
        notes=loaded.notes,
        configuration=loaded.configuration,
    )


def _dimension(loaded: _Loaded, name: str, device: str) -> int:
    """Embed a word, to learn the dimension and whether the tokenizer is the model's own."""
    import torch

    try:
        with torch.inference_mode():
            return int(loaded.model.encode_text(loaded.tokenizer(["a"]).to(device)).shape[-1])
    except (IndexError, RuntimeError) as error:
        raise DataError(
            f"The tokenizer of {name!r} does not fit its text tower: {_first_line(error)}. "
            "open_clip_config.json must name the model's own (hf_tokenizer_name)."
        ) from error


_models: dict[tuple[str, str, bool], _Loaded] = {}


def _load(name: str, device: str, allow_pickle_weights: bool) -> _Loaded:
    key = (name, device, allow_pickle_weights)
    if key not in _models:
        _models.clear()
        _models[key] = _open(*key)
    return _models[key]


def _preprocessing(name: str, device: str, allow_pickle_weights: bool) -> Preprocessing:
    """Find a model's preprocessing, whatever device the model is loaded on.

    Threads go on decoding for a model that has moved to another device: they must not load it anew.
    """
    for (other, _, _), loaded in list(_models.items()):
        if other == name:
            return loaded.pixels
    return _load(name, device, allow_pickle_weights).pixels


def _open(name: str, device: str, allow_pickle_weights: bool) -> _Loaded:
    asked = parse_name(name)
    check_weights(asked, allow_pickle=allow_pickle_weights)
    if asked.architecture.startswith(HUB):
        _fetched(partial(_hub_file, asked, CONFIG), f"The configuration of {name!r}", asked)
    tokenizer = _fetched(partial(_tokenizer, asked), f"The tokenizer of {name!r}", asked)
    model, preprocess = _fetched(partial(_create, asked, device), f"The model {name!r}", asked)
    model.eval()
    configuration = configuration_of(model, tokenizer)
    digest = network_digest(model, configuration)  # of the weights before they are rounded
    return _Loaded(
        model=fitted(model, device),
        pixels=Preprocessing.of(preprocess),
        tokenizer=tokenizer,
        digest=digest,
        notes=asked.notes,
        configuration=configuration,
    )


def _fetched(load: Callable[[], T], what: str, asked: ModelName) -> T:
    """Load a part of a model, from the cache if it is there."""
    try:
        return cached_or_fetched(load, what, needs(asked))
    except ConceptAuditError:
        raise
    except load_failures() as error:
        raise DataError(
            f"{what} cannot be loaded: {_first_line(error)}. {needs(asked)} Models and weights "
            "that open_clip knows: python -c 'import open_clip; print(open_clip.list_pretrained())'"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _tokenizer(asked: ModelName) -> Any:
    import open_clip

    return open_clip.get_tokenizer(asked.architecture)


def _hub_file(asked: ModelName, file: str | None = None) -> str:
    """Fetch a file of a model on the hub: its weights by default."""
    from open_clip.pretrained import download_pretrained_from_hf

    return str(download_pretrained_from_hf(asked.architecture.removeprefix(HUB), filename=file))


def _create(asked: ModelName, device: str) -> tuple[Any, Any]:
    """Make model and preprocessing."""
    import open_clip
    import torch

    if asked.architecture.startswith(HUB):
        _hub_file(asked)  # open_clip itself goes on with random weights where it cannot fetch these
    torch.manual_seed(0)
    model, _, preprocess = open_clip.create_model_and_transforms(
        asked.architecture,
        pretrained=None if asked.untrained else asked.weights,
        device=device,
        weights_only=True,
        force_quick_gelu=asked.forces_quick_gelu,
        pretrained_text=False,  # a text tower's weights come with the model's, or not at all
        require_pretrained=not asked.untrained,
    )
    return model, preprocess

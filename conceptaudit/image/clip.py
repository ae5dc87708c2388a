"""open_clip models: finding them, identifying them, encoding images and texts."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from conceptaudit.errors import ConceptAuditError, ConfigError, DataError
from conceptaudit.image.parallel import CPU_BATCH, map_alone
from conceptaudit.image.preprocessing import Preprocessing
from conceptaudit.image.vectors import unit_rows
from conceptaudit.image.weights import cached_or_fetched, check_weights, load_failures
from conceptaudit.records import Float32Array

if TYPE_CHECKING:
    from PIL import Image

LAB = "lab"
UNTRAINED = "untrained"
TEXT_BATCH = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipModel:
    """An open_clip model with weights; cheap to send to a worker, loaded there on first use.

    Parameters
    ----------
    name : str
        As the user wrote it.
    digest : str
        SHA-256 of the weights and the configuration: part of every image digest.
    dimension : int
        Of its embeddings.
    device : str
        ``"cpu"`` or ``"cuda:0"``.
    allow_pickle_weights : bool
        Whether a checkpoint that is a pickle may be opened; see `find_clip`.
    """

    name: str
    digest: str
    dimension: int
    device: str = "cpu"
    allow_pickle_weights: bool = False

    def on(self, device: str) -> ClipModel:
        """Return the same model on another device."""
        return replace(self, device=device)

    def prepare(self, image: Image.Image) -> Any:
        """Scale and crop one RGB picture as the model's own preprocessing does.

        Returns
        -------
        torch.Tensor of uint8, shape (3, height, width)
            Or of float32 where the preprocessing is of an unknown kind.
        """
        return self._loaded().pixels.prepare(image)

    def encode_pixels(self, pixels: Any) -> Float32Array:
        """Embed pictures that `prepare` made.

        Parameters
        ----------
        pixels : torch.Tensor, shape (n, 3, height, width)

        Returns
        -------
        numpy.ndarray of float32, shape (n, dimension)
            Unit vectors.
        """
        if self.device == "cpu":
            parts = map_alone(self._pass_pixels, pixels.split(CPU_BATCH))
            return np.concatenate(parts)
        return self._pass_pixels(pixels)

    def _pass_pixels(self, pixels: Any) -> Float32Array:
        import torch

        loaded = self._loaded()
        with torch.inference_mode():
            ready = loaded.pixels.finish(pixels.to(self.device))
            with _autocast(self.device):
                return unit_rows(loaded.model.encode_image(ready).float().cpu().numpy())

    def encode_images(self, images: Sequence[Image.Image]) -> Float32Array:
        """Embed RGB pictures.

        Returns
        -------
        numpy.ndarray of float32, shape (n, dimension)
            Unit vectors.
        """
        import torch

        return self.encode_pixels(torch.stack([self.prepare(image) for image in images]))

    def _loaded(self) -> _Loaded:
        return _load(self.name, self.device, self.allow_pickle_weights)

    def encode_texts(self, texts: Sequence[str]) -> Float32Array:
        """Embed texts.

        Returns
        -------
        numpy.ndarray of float32, shape (n, dimension)
            Unit vectors.
        """
        on_cpu = self.device == "cpu"
        size = CPU_BATCH if on_cpu else TEXT_BATCH
        blocks = [list(texts[start : start + size]) for start in range(0, len(texts), size)]
        passed = map_alone(self._pass_texts, blocks) if on_cpu else map(self._pass_texts, blocks)
        return unit_rows(np.concatenate(list(passed)))

    def _pass_texts(self, texts: Sequence[str]) -> Float32Array:
        import torch

        loaded = self._loaded()
        tokens = loaded.tokenizer(list(texts)).to(self.device)
        with torch.inference_mode(), _autocast(self.device):
            vectors: Float32Array = loaded.model.encode_text(tokens).float().cpu().numpy()
        return vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    model: Any
    pixels: Preprocessing
    tokenizer: Any
    digest: str


def find_clip(name: str, *, device: str = "auto", allow_pickle_weights: bool = False) -> ClipModel:
    """Find an open_clip model and load it once to identify it.

    Parameters
    ----------
    name : str
        ``"lab"`` (bundled); ``"MODEL/WEIGHTS"`` as open_clip names them, for instance
        ``"ViT-B-32/laion2b_s34b_b79k"``; a folder with ``open_clip_config.json`` and
        ``open_clip_model.safetensors``; ``"MODEL/path/to/weights.safetensors"``; or
        ``"MODEL/untrained"`` (random weights from a fixed seed, for trying things out).
    device : str, default "auto"
        ``"cpu"``, ``"cuda:0"`` or ``"auto"`` for the first GPU where there is one.
    allow_pickle_weights : bool, default False
        Whether a file of weights that is a pickle may be opened. It is read by torch's restricted
        unpickler, which builds tensors and nothing else, and a warning is logged.

    Raises
    ------
    ConfigError
        The name is not known to open_clip, the device is not there, or the weights are a pickle
        and that was not allowed.
    DataError
        The weights cannot be read.

    Examples
    --------
    >>> find_clip("lab", device="cpu").dimension > 0
    True
    """
    device = _device(device)
    loaded = _load(name, device, allow_pickle_weights)
    dimension = int(loaded.model.encode_text(loaded.tokenizer(["a"]).to(device)).shape[-1])
    return ClipModel(
        name=name,
        digest=loaded.digest,
        dimension=dimension,
        device=device,
        allow_pickle_weights=allow_pickle_weights,
    )


_models: dict[tuple[str, str, bool], _Loaded] = {}


def _load(name: str, device: str, allow_pickle_weights: bool) -> _Loaded:
    key = (name, device, allow_pickle_weights)
    if key not in _models:
        _models.clear()
        _models[key] = _open(*key)
    return _models[key]


def _open(name: str, device: str, allow_pickle_weights: bool) -> _Loaded:
    architecture, weights = _parse(name)
    check_weights(architecture, weights, allow_pickle_weights)
    try:
        model, preprocess, tokenizer = cached_or_fetched(
            partial(_create, architecture, weights, device), name
        )
    except ConceptAuditError:
        raise
    except load_failures() as error:
        why = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise DataError(
            f"open_clip cannot load {name!r}: {why}. Models and weights "
            "that it knows: python -c 'import open_clip; print(open_clip.list_pretrained())'."
        ) from error
    model.eval()
    return _Loaded(
        model=model,
        pixels=Preprocessing.of(preprocess),
        tokenizer=tokenizer,
        digest=_weights_digest(model),
    )


def _create(architecture: str, weights: str | None, device: str) -> tuple[Any, Any, Any]:
    """Make model, preprocessing and tokenizer."""
    import open_clip
    import torch

    torch.manual_seed(0)
    with _quiet_about_random_weights(weights):
        model, _, preprocess = open_clip.create_model_and_transforms(
            architecture,
            pretrained=None if weights == UNTRAINED else weights,
            device=device,
            weights_only=True,
        )
    return model, preprocess, open_clip.get_tokenizer(architecture)


def _parse(name: str) -> tuple[str, str | None]:
    """Split a model name into what open_clip calls model name and pretrained tag (or path)."""
    import open_clip

    if name == LAB:
        from conceptaudit.lab.bundled import lab_clip_path

        return f"local-dir:{lab_clip_path()}", None
    if (Path(name) / "open_clip_config.json").is_file():
        return f"local-dir:{name}", None
    architecture, _, weights = name.partition("/")
    models = open_clip.list_models()
    if architecture not in models:
        near = get_close_matches(architecture, [*models, LAB], n=2)
        raise ConfigError(
            f"The 'clip' parameter must be 'lab', MODEL/WEIGHTS with a model that open_clip knows, "
            f"or a folder with open_clip_config.json. Got {name!r} instead."
            + (f" Did you mean {' or '.join(near)}?" if near else "")
        )
    known = open_clip.list_pretrained_tags_by_model(architecture)
    if weights != UNTRAINED and weights not in known and not Path(weights).is_file():
        near = get_close_matches(weights, known, n=1)
        raise ConfigError(
            f"open_clip has no weights {weights!r} for {architecture} and there is no such file."
            f"{f' Did you mean {near[0]}?' if near else ''} It knows: {', '.join(known) or 'none'}."
            if weights
            else f"The 'clip' parameter must name weights as well as a model. Got {name!r} instead "
            f"of {architecture}/ and one of: {', '.join(known) or 'none that open_clip knows'}."
        )
    return architecture, weights


@contextmanager
def _quiet_about_random_weights(weights: str | None) -> Iterator[None]:
    """Keep open_clip from warning of random weights where the user asked for them."""
    root = logging.getLogger()
    before = root.level
    if weights == UNTRAINED:
        root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)


def _weights_digest(model: Any) -> str:
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(f"{key}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().float().numpy().tobytes())
    return digest.hexdigest()


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(
            f"The 'device' parameter is {name!r}, but torch sees no CUDA device. "
            "Use 'cpu' or 'auto'."
        )
    return name


def _autocast(device: str) -> Any:
    import torch

    enabled = device.startswith("cuda")
    return torch.autocast("cuda" if enabled else "cpu", dtype=torch.bfloat16, enabled=enabled)

"""Training of a small open_clip model on CIFAR photographs, for `lab_cifar*.py`."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import open_clip
import pandas as pd
import torch

from conceptaudit.image.decode import decode_image

SIDE = 32
PREPROCESS_CFG = {
    "mean": [0.5071, 0.4865, 0.4409],
    "std": [0.2673, 0.2564, 0.2762],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


def decode_pixels(images: "pd.Series[bytes]") -> torch.Tensor:
    """Decode photographs, uint8 (n, 3, 32, 32)."""
    stacked = np.stack([np.asarray(decode_image(data)) for data in images])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()


class Augment:
    """Flip and shift by up to 4 pixels, enlarge and normalise as the model's preprocessing does."""

    def __init__(self, seed: int, device: str, side: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.device, self.side = device, side
        self.mean = torch.tensor(PREPROCESS_CFG["mean"], device=device).view(1, 3, 1, 1) * 255
        self.std = torch.tensor(PREPROCESS_CFG["std"], device=device).view(1, 3, 1, 1) * 255

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Augment uint8 (n, 3, 32, 32) to float32 (n, 3, side, side)."""
        n = len(pixels)
        padded = torch.nn.functional.pad(pixels.float(), (4, 4, 4, 4), mode="reflect")
        shift = torch.randint(0, 9, (2, n, 1), generator=self.generator)
        flip = torch.rand(n, 1, generator=self.generator) < 0.5
        places = torch.arange(SIDE).expand(n, SIDE)
        columns = shift[1] + torch.where(flip, SIDE - 1 - places, places)
        rows = shift[0] + places
        which = torch.arange(n)[:, None, None]
        cut = padded.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]]
        batch = cut.permute(0, 3, 1, 2).to(self.device)
        # With antialias, torch uses the same bicubic kernel as Pillow.
        large = torch.nn.functional.interpolate(
            batch, size=(self.side, self.side), mode="bicubic", antialias=True
        )
        batch = (large.clamp(0, 255) - self.mean) / self.std
        return batch.contiguous(memory_format=torch.channels_last)


def rate_at(done: float) -> float:
    """Share of the peak learning rate: up over a twentieth of the way, then half a cosine down."""
    return min((done + 0.002) / 0.05, 0.5 * (1 + math.cos(math.pi * max(0.0, done - 0.05) / 0.95)))


def train_clip(
    settings: dict[str, Any],
    pixels: torch.Tensor,
    tokens: torch.Tensor,
    batches: Iterable[torch.Tensor],
    *,
    progress: Callable[[int, list[float]], float],
    learning_rate: float,
    seed: int,
    device: str,
) -> tuple[open_clip.CLIP, int, float]:
    """Train from scratch; return the model, its steps and the mean loss of the last hundred.

    `batches` yields the rows of each step; `progress` takes the steps so far and the last hundred
    losses and returns the share of the training that is behind, 1 at its end.
    """
    torch.manual_seed(seed)
    model = open_clip.CLIP(**settings).to(device, memory_format=torch.channels_last)
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-6)
    loss_of = open_clip.ClipLoss()
    augment = Augment(seed, device, settings["vision_cfg"]["image_size"])
    losses: list[float] = []
    step, done = 0, 0.0
    model.train()
    for rows in batches:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * rate_at(done)
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            image = model.encode_image(augment(pixels[rows]), normalize=True)
        text = model.encode_text(tokens[rows].to(device), normalize=True)
        loss = loss_of(image.float(), text, model.logit_scale.exp())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        losses = [*losses[-99:], loss.item()]
        step += 1
        done = progress(step, losses)
        if done >= 1:
            break
    return model.eval(), step, sum(losses) / len(losses)

"""Numbers, intervals, drop codes and names, written for a reader."""

import math
from collections.abc import Sequence

from conceptaudit.curves import LineFit

NBSP = "\u00a0"
"""Keeps a number and its unit on one line."""

SIDES = {
    "n_text": ("captions", "named in the caption"),
    "n_image": ("images", "seen in the image"),
    "n_joint": ("both", "in caption and image of the same sample"),
}
"""Short name and meaning of each count."""

REASONS = {
    "empty_caption": "the caption is empty",
    "null_caption": "there is no caption",
    "bad_utf8": "the caption is not valid text",
    "missing_caption": "the caption is missing",
    "missing_image": "the image is missing",
    "not_an_image": "the file is not an image",
    "broken_image": "the image cannot be decoded",
    "decompression_bomb": "the image is implausibly large",
    "nan_embedding": "the stored embedding holds no numbers",
    "zero_embedding": "the stored embedding is all zeros",
    "unreadable_file": "its file could not be read",
    "caption_not_utf8": "parts of the caption are not valid text",
    "link_rot": "the sample could not be downloaded",
}


def count(n: float) -> str:
    """Write a whole number with thousands separators.

    >>> count(12345), count(2.95)
    ('12,345', '3')
    """
    return f"{round(n):,}"


FEWEST_DEGREES = 2.0
"""With fewer degrees of freedom (two datasets have one) an interval says next to nothing."""


def slope_per_decade(line: LineFit) -> str:
    """Write a slope in percentage points with its interval, where that has any meaning."""
    return f"{decimal(100 * line.slope, 1)} {slope_interval(line)}"


def slope_interval(line: LineFit, level: str = "") -> str:
    """Write the interval of a slope in brackets, or why there is none."""
    if line.resampled == "dataset" and not line.df >= FEWEST_DEGREES:
        return "(no interval: too few datasets for one)"
    low, high = (decimal(100 * end, 1) for end in (line.slope_low, line.slope_high))
    return f"({f'{level} ' if level else ''}{low} to {high})"


def percent(share: float | None) -> str:
    """Write a share as per cent, with as many digits as tell it from 0 and 100.

    >>> [percent(share).replace(NBSP, " ") for share in (0.123, 0.00042, 0.99946, None)]
    ['12.3 %', '0.042 %', '99.95 %', 'unknown']
    """
    if share is None or math.isnan(share):
        return "unknown"
    value = 100 * share
    if value in (0.0, 100.0):
        return f"{value:.0f}{NBSP}%"
    text = f"{value:.1f}" if 0.1 <= value <= 99.9 else f"{value:.2g}"
    if value > 99.9:
        text = f"{100 - float(f'{100 - value:.1g}'):.10g}"
    return f"{text}{NBSP}%"


def reason(code: str) -> str:
    """Say a drop's code in words.

    >>> reason("caption:empty_caption"), reason("image:some_new_fault")
    ('the caption is empty', 'image: some new fault')
    >>> reason("sample:status_failed_to_download")
    'img2dataset reports: failed to download'
    """
    part, _, name = code.rpartition(":")
    if name.startswith("status_"):
        return f"img2dataset reports: {name.removeprefix('status_').replace('_', ' ')}"
    if name in REASONS:
        return REASONS[name]
    words = name.replace("_", " ")
    return f"{part}: {words}" if part else words


def decimal(value: float, digits: int = 2) -> str:
    """Write a number with a true minus sign; undefined is said."""
    if not math.isfinite(value):
        return "undefined"
    return f"{value:.{digits}f}".replace("-", "−")


def listed(words: Sequence[str], limit: int = 6) -> str:
    """List words, and say how many are not listed.

    >>> listed(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    if len(words) <= limit:
        return ", ".join(words)
    return f"{', '.join(words[:limit])} and {len(words) - limit:,} more"


def level_name(level: float) -> str:
    """Name the level of an interval.

    >>> level_name(0.9).replace(NBSP, " ")
    '90 % interval'
    """
    return f"{100 * level:g}{NBSP}% interval"


def dataset_name(location: str) -> str:
    """Shorten where a dataset lies to its name.

    >>> dataset_name("/mnt/laion/"), dataset_name("laion/{00000..00099}.tar"), dataset_name("*.tar")
    ('laion', 'laion/{00000..00099}.tar', '*.tar')
    """
    folder, _, name = location.rstrip("/").rpartition("/")
    if set(name) & set("*?[{"):  # a pattern names nothing without its folder
        name = f"{folder.rpartition('/')[2]}/{name}".lstrip("/")
    return name or location or "a dataset without a name"


def between(low: float, high: float) -> str:
    """Write the ends of an interval of shares."""
    return f"{percent(low)} to {percent(high)}"

"""A sample as it goes to disk: keyed, described as img2dataset does, damaged if it is to be."""

import hashlib
import math
from dataclasses import dataclass
from typing import Any

from conceptaudit.lab.config import LabConfig
from conceptaudit.lab.dice import Dice, Purpose
from conceptaudit.lab.faults import damage_caption, damage_image
from conceptaudit.lab.samples import SampleTruth, make_sample

SHARD_DIGITS = 5

ROT_MESSAGES = (
    "HTTP Error 404: Not Found",
    "HTTP Error 403: Forbidden",
    "HTTP Error 410: Gone",
    "<urlopen error [Errno -2] Name or service not known>",
    "<urlopen error timed out>",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSample:
    """A sample ready to be written.

    Parameters
    ----------
    key : str
        Its name in the shard.
    image, caption : bytes or None
        File contents; None where the file is missing.
    metadata : dict
        img2dataset's columns, in their order.
    truth : SampleTruth
        What is true of it.
    """

    key: str
    image: bytes | None
    caption: bytes | None
    metadata: dict[str, Any]
    truth: SampleTruth

    @property
    def times(self) -> int:
        """How often it is stored under its key."""
        fate = self.truth.fate
        return 2 if fate.corrupt == "duplicate_key" and not fate.link_rot else 1

    @property
    def outcome(self) -> str:
        """What the download's statistics count it as."""
        return str(self.metadata["error_message"] or "success")


def sample_key(config: LabConfig, index: int) -> str:
    """Name sample `index` as img2dataset does: shard number, then position in the shard.

    Examples
    --------
    >>> sample_key(LabConfig(shard_size=1000), 2005)
    '00002005'
    """
    digits = math.ceil(math.log10(config.shard_size)) if config.shard_size > 1 else 0
    shard, position = divmod(index, config.shard_size)
    return f"{shard * 10**digits + position:0{SHARD_DIGITS + digits}d}"


def store(config: LabConfig, index: int) -> StoredSample:
    """Make sample `index` and do to it what its fate says."""
    dice = Dice(seed=config.seed, index=index, purpose=Purpose.METADATA)
    dice.uniform()  # the JPEG quality
    picture, truth = make_sample(config, index)
    fate, key = truth.fate, sample_key(config, index)
    address = hashlib.sha256(f"{config.seed}/{index}".encode()).hexdigest()
    known: dict[str, Any] = {
        "url": f"https://images{dice.below(40)}.example.com/{address[:2]}/{address[2:14]}.jpg",
        "caption": truth.caption,
        "key": key,
    }
    if fate.link_rot:
        lost = {"status": "failed_to_download", "error_message": dice.pick(ROT_MESSAGES)}
        metadata = known | lost | dict.fromkeys((*_SIZES, "exif", "sha256"))
        return StoredSample(key=key, image=None, caption=None, metadata=metadata, truth=truth)
    content = picture or b""
    caption = damage_caption(truth.caption, fate.corrupt)
    known["caption"] = None if caption is None else caption.decode(errors="replace")
    fetched = {"status": "success", "error_message": None}
    sizes = dict.fromkeys(_SIZES, config.image_size)
    digest = {"exif": "{}", "sha256": hashlib.sha256(content).hexdigest()}
    return StoredSample(
        key=key,
        image=damage_image(content, fate.corrupt),
        caption=caption,
        metadata=known | fetched | sizes | digest,
        truth=truth,
    )


_SIZES = ("width", "height", "original_width", "original_height")

"""One shard of a simulated dataset, written as img2dataset writes it."""

from __future__ import annotations

import hashlib
import io
import json
import math
import struct
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from conceptaudit import artifacts
from conceptaudit.lab.config import LabConfig
from conceptaudit.lab.rng import Purpose, SampleRng
from conceptaudit.lab.samples import SampleTruth, make_sample
from conceptaudit.lab.truth import truth_table

if TYPE_CHECKING:
    import pyarrow as pa


FORMATS = ("webdataset", "parquet")

ROWS_PER_GROUP = 100
"""img2dataset flushes its tables every hundred rows."""

Row = dict[str, Any]


def write_shard(config: LabConfig, folder: Path, layout: str, shard: int) -> pa.Table:
    """Write the files of one shard and return its rows of the truth, in order of index."""
    start = shard * config.shard_size
    indexes = range(start, min(start + config.shard_size, config.n_samples))
    # Downloads end in any order, and img2dataset's tables keep the order in which they ended.
    order = SampleRng(seed=config.seed, index=shard, purpose=Purpose.ORDER).shuffled(indexes)
    name = f"{shard:0{SHARD_DIGITS}d}"
    if layout == "webdataset":
        light = _write_tar(folder / f"{name}.tar", (store(config, index) for index in indexes))
        ended = [light[index - start] for index in order]
        _write_rows(folder / f"{name}.parquet", ([sample.metadata] for sample in ended))
    else:
        light = []
        rows = _rows_with_image((store(config, index) for index in order), light)
        _write_rows(folder / f"{name}.parquet", rows, image=True)
        light.sort(key=lambda sample: sample.truth.index)
    _write_stats(folder / f"{name}_stats.json", light)
    truths = [sample.truth for sample in light]
    sources = [sample_key(config, truth.faults.source) for truth in truths]
    return truth_table(truths, [sample.key for sample in light], sources)


def _without_files(sample: StoredSample) -> StoredSample:
    """Keep what the tables need: a shard's images would not fit into memory."""
    return StoredSample(
        key=sample.key,
        image=None,
        caption=None,
        metadata=sample.metadata,
        truth=sample.truth,
    )


def _write_tar(path: Path, samples: Iterable[StoredSample]) -> list[StoredSample]:
    light = []
    with whole_file(path) as file, tarfile.open(fileobj=file, mode="w") as tar:
        for sample in samples:
            light.append(_without_files(sample))
            if sample.truth.faults.link_rot:
                continue
            members = {
                "jpg": sample.image,
                "txt": sample.caption,
                "json": json.dumps(sample.metadata, indent=4).encode(),
            }
            for ending, content in [*members.items()] * sample.times:
                if content is not None:
                    # TarInfo's defaults are time 0 and no owner: the same bytes every time.
                    member = tarfile.TarInfo(f"{sample.key}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return light


def _rows_with_image(
    samples: Iterable[StoredSample], light: list[StoredSample]
) -> Iterator[list[Row]]:
    for sample in samples:
        light.append(_without_files(sample))
        row = sample.metadata | {"jpg": sample.image}
        if not sample.truth.faults.link_rot:
            row["caption"] = sample.caption
        yield [row] * sample.times


@cache
def _row_schema(*, image: bool) -> pa.Schema:
    import pyarrow as pa

    columns: dict[str, pa.DataType] = dict.fromkeys(
        ("url", "caption", "key", "status", "error_message"), pa.string()
    )
    columns |= dict.fromkeys(("width", "height", "original_width", "original_height"), pa.int32())
    columns |= dict.fromkeys(("exif", "sha256"), pa.string())
    return pa.schema(columns | {"jpg": pa.binary()} if image else columns)


def _write_rows(path: Path, samples: Iterable[list[Row]], *, image: bool = False) -> None:
    import pyarrow.parquet as pq

    schema = _row_schema(image=image)
    with whole_file(path) as file, pq.ParquetWriter(file, schema) as writer:
        group: list[Row] = []
        for rows in samples:
            group += rows
            if len(group) >= ROWS_PER_GROUP:
                writer.write_table(_row_table(group, schema))
                group = []
        if group:
            writer.write_table(_row_table(group, schema))


def _row_table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    columns = []
    for field in schema:
        values = [row[field.name] for row in rows]
        if field.name == "caption":
            # Bytes taken for text without a check: so bad UTF-8 gets into real tables, too.
            coded = [value.encode() if isinstance(value, str) else value for value in values]
            columns.append(pa.array(coded, pa.binary()).view(pa.string()))
        else:
            columns.append(pa.array(values, field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _write_stats(path: Path, samples: Sequence[StoredSample]) -> None:
    outcomes = Counter(sample.outcome for sample in samples)
    stats = {
        "count": len(samples),
        "successes": outcomes["success"],
        "failed_to_download": len(samples) - outcomes["success"],
        "failed_to_resize": 0,
        # True times would make the bytes of two runs differ.
        "duration": 0.0,
        "start_time": 0.0,
        "end_time": 0.0,
        "status_dict": dict(sorted(outcomes.items())),
    }
    with whole_file(path) as file:
        file.write(json.dumps(stats, indent=4).encode())


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears under its name only once it is complete."""
    with artifacts.whole_file(path) as partial, partial.open("wb") as file:
        yield file


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
    """A sample ready to be written."""

    key: str
    image: bytes | None
    caption: bytes | None
    metadata: dict[str, Any]
    truth: SampleTruth

    @property
    def times(self) -> int:
        """How often it is stored under its key."""
        faults = self.truth.faults
        return 2 if faults.corrupt == "duplicate_key" and not faults.link_rot else 1

    @property
    def outcome(self) -> str:
        """What the download's statistics count it as."""
        return str(self.metadata["error_message"] or "success")


def sample_key(config: LabConfig, index: int) -> str:
    """Name sample `index` as img2dataset does: shard number, then position in the shard.

    >>> sample_key(LabConfig(shard_size=1000), 2005)
    '00002005'
    """
    digits = math.ceil(math.log10(config.shard_size)) if config.shard_size > 1 else 0
    shard, position = divmod(index, config.shard_size)
    return f"{shard * 10**digits + position:0{SHARD_DIGITS + digits}d}"


def store(config: LabConfig, index: int) -> StoredSample:
    """Make sample `index` and do to it what its faults says."""
    rng = SampleRng(seed=config.seed, index=index, purpose=Purpose.METADATA)
    rng.uniform()  # the JPEG quality
    picture, truth = make_sample(config, index)
    faults, key = truth.faults, sample_key(config, index)
    address = hashlib.sha256(f"{config.seed}/{index}".encode()).hexdigest()
    known: dict[str, Any] = {
        "url": f"https://images{rng.below(40)}.example.com/{address[:2]}/{address[2:14]}.jpg",
        "caption": truth.caption,
        "key": key,
    }
    if faults.link_rot:
        lost = {"status": "failed_to_download", "error_message": rng.pick(ROT_MESSAGES)}
        metadata = known | lost | dict.fromkeys((*_SIZES, "exif", "sha256"))
        return StoredSample(key=key, image=None, caption=None, metadata=metadata, truth=truth)
    content = picture or b""
    caption = damage_caption(truth.caption, faults.corrupt)
    known["caption"] = None if caption is None else caption.decode(errors="replace")
    fetched = {"status": "success", "error_message": None}
    sizes = dict.fromkeys(_SIZES, config.image_size)
    digest = {"exif": "{}", "sha256": hashlib.sha256(content).hexdigest()}
    return StoredSample(
        key=key,
        image=damage_image(content, faults.corrupt),
        caption=caption,
        metadata=known | fetched | sizes | digest,
        truth=truth,
    )


_SIZES = ("width", "height", "original_width", "original_height")


WEB_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head>\n"
    b"<body><h1>Not Found</h1><p>The picture has moved.</p></body></html>\n"
)
"""What many servers send instead of an image that is gone."""

BOMB_SIDE = 65_000
"""Pixels per side that a bomb claims: 4.2 billion, 12 GB once decoded. JPEG's limit is 65,535."""

LATIN_1_TAIL = b" caf\xe9"
"""One Latin-1 letter makes the whole caption invalid as UTF-8."""

_FRAME_HEADERS = (b"\xff\xc0", b"\xff\xc1", b"\xff\xc2")


def damage_image(content: bytes, kind: str) -> bytes | None:
    """Damage a JPEG file.

    >>> damage_image(b"0123456789", "truncated"), damage_image(b"0", "missing_image")
    (b'01234', None)
    """
    if kind == "truncated":
        return content[: len(content) // 2]
    if kind == "wrong_magic":
        return WEB_PAGE
    if kind == "bomb":
        return _claim_size(content, BOMB_SIDE)
    return None if kind == "missing_image" else content


def damage_caption(caption: str, kind: str) -> bytes | None:
    r"""Encode a caption as UTF-8 and damage it.

    >>> damage_caption("a dog", "bad_utf8"), damage_caption("a dog", "empty_caption")
    (b'a dog caf\xe9', b'')
    """
    if kind == "bad_utf8":
        return caption.encode() + LATIN_1_TAIL
    if kind == "empty_caption":
        return b""
    return None if kind == "missing_caption" else caption.encode()


def _claim_size(content: bytes, side: int) -> bytes:
    """Write another height and width into a JPEG file's frame header (ITU-T T.81, B.2.2)."""
    position = 2
    while content[position : position + 2] not in _FRAME_HEADERS:
        (length,) = struct.unpack(">H", content[position + 2 : position + 4])
        position += 2 + length
    # Marker (2 bytes), length (2), precision (1), then height and width.
    size = struct.pack(">HH", side, side)
    return content[: position + 5] + size + content[position + 9 :]

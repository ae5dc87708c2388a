"""Damage done to valid files, for `fuzz_readers.py`: by bits and by what the format means.

Every function takes a `random.Random` and gives the same bytes for the same state of it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import struct
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

NUMBERS = (b"0", b"-1", b"1e309", b"-1e309", b"NaN", b"99999999999999999999", b"2147483648",
           b"9223372036854775808", b"1.5", b"", b"0x10", b"\xd9\xa3")  # fmt: skip
TOKENS = (b'"', b"'", b"{", b"}", b"[", b"]", b",", b";", b":", b"\t", b"\n", b"\r", b"\r\n",
          b"\x00", b"\\", b"\\ud800", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"null",
          b"true", b"&a [*a,*a]", b"!!python/object/apply:os.system [x]", b"=cmd()", b"\x1b[31m",
          b"../../x", b"%s", b"\xe2\x80\xae", b"[" * 3000, b'{"a":' * 3000, b"a" * 3000,
          b"|", b"#", b"---", b"<", b"<!ENTITY x>")  # fmt: skip
SCALARS: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1.5, -0.0, 10**25, 2**31, 2**63, 1e308, float("nan"),
    float("inf"), "", "x", "\ud800", "0", "../x", "/", "\x00", "NaN", [], {}, [[]], [None], {"": 0},
    {"a": {}}, ["x"], [1, 2, 3],
)  # fmt: skip
INTEGERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF,
            0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)  # fmt: skip

Mutation = Callable[[bytes, Random], bytes]


def flip_bits(data: bytes, rng: Random) -> bytes:
    """Turn one to eight bits."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8) if changed else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def set_bytes(data: bytes, rng: Random) -> bytes:
    """Overwrite a few bytes with one value."""
    changed = bytearray(data)
    if changed:
        start = rng.randrange(len(changed))
        stop = min(start + rng.choice((1, 2, 4, 16, 512)), len(changed))
        changed[start:stop] = bytes([rng.choice((0, 255, 32, 48, rng.randrange(256)))]) * (
            stop - start
        )
    return bytes(changed)


def truncate(data: bytes, rng: Random) -> bytes:
    """Keep only the start or only the end."""
    place = rng.randrange(len(data) + 1)
    return data[:place] if rng.random() < 0.8 else data[place:]


def move_chunk(data: bytes, rng: Random) -> bytes:
    """Delete, repeat or move a run of bytes."""
    start = rng.randrange(len(data) + 1)
    stop = min(start + rng.choice((1, 2, 4, 8, 64, 512, 4096)), len(data))
    chunk, rest = data[start:stop], data[:start] + data[stop:]
    kind = rng.randrange(3)
    if kind == 0:
        return rest
    place = rng.randrange(len(data) + 1)
    whole = data if kind == 1 else rest
    return whole[:place] + chunk + whole[place:]


def set_integer(data: bytes, rng: Random) -> bytes:
    """Write a number of 2, 4 or 8 bytes somewhere, of the kind that lengths overflow with."""
    code = rng.choice(["<H", ">H", "<I", ">I", "<Q", ">Q"])
    size = struct.calcsize(code)
    if len(data) < size:
        return data
    place = rng.randrange(len(data) - size + 1)
    number = struct.pack(code, rng.choice(INTEGERS) & ((1 << 8 * size) - 1))
    return data[:place] + number + data[place + size :]


def set_number(data: bytes, rng: Random) -> bytes:
    """Replace a number that is written in digits."""
    found = list(re.finditer(rb"-?\d+(?:\.\d+)?", data[:100_000]))
    if not found:
        return insert_token(data, rng)
    match = rng.choice(found)
    return data[: match.start()] + rng.choice(NUMBERS) + data[match.end() :]


def insert_token(data: bytes, rng: Random) -> bytes:
    """Insert, or write over something, a token that parsers stumble on."""
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.choice(TOKENS) + data[place + rng.choice((0, 0, 1, 5)) :]


def move_line(data: bytes, rng: Random) -> bytes:
    """Delete, repeat or swap lines."""
    lines = data.split(b"\n")
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    kind = rng.randrange(3)
    if kind == 0:
        del lines[i]
    elif kind == 1:
        lines.insert(j, lines[i])
    else:
        lines[i], lines[j] = lines[j], lines[i]
    return b"\n".join(lines)


ANY: tuple[Mutation, ...] = (flip_bits, set_bytes, truncate, move_chunk, set_integer)
TEXT: tuple[Mutation, ...] = (*ANY, set_number, insert_token, insert_token, move_line)


def edit_json(data: bytes, rng: Random) -> bytes:
    """Replace, delete or repeat one value of a JSON document."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return rng.choice(TEXT)(data, rng)
    for _ in range(rng.choice((1, 1, 2, 4))):
        value = _edited(value, rng)
    return json.dumps(value).encode()


def _edited(value: Any, rng: Random) -> Any:
    inner = isinstance(value, dict | list) and value and rng.random() < 0.9
    if not inner:
        return rng.choice(SCALARS)
    if isinstance(value, list):
        value = list(value)
        place = rng.randrange(len(value))
        action = rng.random()
        if action < 0.1:
            del value[place]
        elif action < 0.2:
            value.append(value[place])
        else:
            value[place] = _edited(value[place], rng)
        return value
    value = dict(value)
    name = rng.choice(list(value))
    action = rng.random()
    if action < 0.15:
        del value[name]
    elif action < 0.25:
        value[rng.choice(("", "x", name.upper(), "concept", "\ud800"))] = value.pop(name)
    else:
        value[name] = _edited(value[name], rng)
    return value


def edit_sealed(data: bytes, rng: Random) -> bytes:
    """Edit a JSON record and make its checksum right again, as a careful forger would."""
    changed = edit_json(data, rng)
    try:
        value = json.loads(changed)
        if not isinstance(value, dict) or rng.random() < 0.1:
            return changed
        body = {key: item for key, item in value.items() if key != "sha256"}
        text = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return json.dumps({**body, "sha256": digest}).encode()
    except (ValueError, RecursionError):
        return changed


def sealed_manifest(files: dict[str, bytes], name: str = "manifest.json") -> dict[str, bytes]:
    """Make the digests in a manifest right: of the files that are there, and of no others."""
    told = json.loads(files[name])
    digests = {one: hashlib.sha256(data).hexdigest() for one, data in files.items() if one != name}
    return {**files, name: json.dumps({**told, "files": digests}).encode()}


def edit_tar(data: bytes, rng: Random) -> bytes:
    """Change a member's header and mend its checksum, or shift blocks."""
    headers = [at for at in range(0, len(data) - 511, 512) if data[at + 257 : at + 262] == b"ustar"]
    if not headers or rng.random() < 0.2:
        return rng.choice(ANY)(data, rng)
    at = rng.choice(headers)
    header = bytearray(data[at : at + 512])
    fields: dict[str, tuple[int, int, tuple[bytes, ...]]] = {
        "name": (0, 100, (b"../../x.jpg", b"/etc/x.txt", b".jpg", b"a", b"x" * 100, b"\xff.txt",
                          b"a/../b.txt", b"0.jpg", b"")),
        "size": (124, 12, (b"77777777777", b"00000000000", b"00000000001", b"-0000000001", b"zz",
                           b"\x80" + b"\xff" * 11, b"\x80" + b"\x00" * 10 + b"\x01", b"")),
        "type": (156, 1, tuple(bytes([c]) for c in b"0123456789xgLKSDNV\x00Z")),
        "link": (157, 100, (b"/etc/passwd", b"../x", b"0.jpg")),
        "magic": (257, 8, (b"ustar  \x00", b"\x00" * 8, b"garbage!")),
    }  # fmt: skip
    start, size, values = fields[rng.choice(list(fields))]
    header[start : start + size] = rng.choice(values)[:size].ljust(size, b"\x00")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\x00 " % sum(header)
    return data[:at] + bytes(header) + data[at + 512 :]


def edit_npy(data: bytes, rng: Random) -> bytes:
    """Change the shape or the type in an array's header, keeping its length right."""
    if data[:6] != b"\x93NUMPY" or rng.random() < 0.3:
        return rng.choice(ANY)(data, rng)
    size = int.from_bytes(data[8:10], "little")
    header = data[10 : 10 + size]
    kinds: tuple[tuple[bytes, tuple[bytes, ...]], ...] = (
        (rb"\(\d+, *\d+\)", (b"(3,)", b"()", b"(-1, 4)", b"(99999999999, 99999999)", b"(0, 0)",
                            b"(4, 0)", b"(2, 2, 2)", b"(1.5, 2)", b"'x'", b"(True, 4)")),
        (rb"'<f[248]'", (b"'|O'", b"'<f2'", b"'>f8'", b"'<i4'", b"'<U9'", b"'|V8'", b"'<M8[s]'",
                         b"[('a', '<f4')]", b"'<c8'", b"3", b"'f,f'", b"('<f4', (9999999,))")),
        (rb"False", (b"True", b"None", b"__import__('os')")),
        (rb"'shape'", (b"'shade'", b"[]", b"(" * 300)),
    )  # fmt: skip
    pattern, values = rng.choice(kinds)
    value = rng.choice(values)
    header = re.sub(pattern, lambda _: value, header, count=1)
    return data[:8] + len(header).to_bytes(2, "little") + header + data[10 + size :]


def edit_parquet(data: bytes, rng: Random) -> bytes:
    """Damage the footer more often than the pages, and sometimes its length."""
    if len(data) < 12 or rng.random() < 0.3:
        return rng.choice(ANY)(data, rng)
    size = int.from_bytes(data[-8:-4], "little")
    start = max(len(data) - 8 - size, 0)
    if rng.random() < 0.1:
        length = rng.choice((0, 1, size - 1, size + 1, len(data), 0x7FFFFFFF, 0xFFFFFFFF))
        return data[:-8] + (length & 0xFFFFFFFF).to_bytes(4, "little") + data[-4:]
    if rng.random() < 0.3:  # page headers stand at the start of a page
        return rng.choice((flip_bits, set_bytes))(data[:120], rng) + data[120:]
    footer = rng.choice((flip_bits, flip_bits, set_bytes, set_integer))(data[start:-8], rng)
    return data[:start] + footer + data[-8:]


def edit_gzip(data: bytes, rng: Random) -> bytes:
    """Damage what is compressed, or the compressed bytes."""
    if rng.random() < 0.3:
        return rng.choice(ANY)(data, rng)
    try:
        plain = gzip.decompress(data)
    except (OSError, EOFError, ValueError, zlib.error):
        return rng.choice(ANY)(data, rng)
    return gzip.compress(rng.choice(TEXT)(plain, rng), 1, mtime=0)


BY_ENDING: dict[str, tuple[Mutation, ...]] = {
    ".json": (*TEXT, *[edit_json] * 12),
    ".sealed.json": (edit_sealed, edit_sealed, edit_sealed, insert_token, truncate, flip_bits),
    ".tar": (*ANY, *[edit_tar] * 10),
    ".npy": (*ANY, *[edit_npy] * 10),
    ".npz": ANY,
    ".zst": ANY,
    ".gz": (edit_gzip,),
    ".parquet": (*ANY, *[edit_parquet] * 15),
    ".faiss": ANY,
    **dict.fromkeys(
        (".jpg", ".png", ".webp", ".gif", ".tiff", ".bmp", ".ico", ".jp2", ".avif"), ANY
    ),
}


def mutate(data: bytes, others: tuple[bytes, ...], ending: str, rng: Random) -> bytes:
    """Damage a file one to three times, or join it with another seed.

    Parameters
    ----------
    data : bytes
        The valid file.
    others : tuple of bytes
        Other valid files of the same reader, for splices.
    ending : str
        Of the file's name; decides what the damage knows of the format.
    rng : random.Random
    """
    if others and rng.random() < 0.03:
        other = rng.choice(others)
        return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(BY_ENDING.get(ending, TEXT))(data, rng)
    return data

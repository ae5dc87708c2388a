"""A dataset whose captions, keys, names and addresses attack the page, and a server over it."""

import io
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.explore import ExploreOptions, Server

HOSTILE = "<script>alert(1)</script>"
BREAKOUT = '"><img src=x onerror=alert(2)>'
CONCEPTS = ["dog", "cat", "bird", "crane", HOSTILE, BREAKOUT, "\u202egod"]
COLOURS = ["red", "green", "blue", "gold"]
KEYS = [
    "../../../etc/passwd",
    BREAKOUT,
    "javascript:alert(4)",
    "https://example.invalid/a.png",
    *(f"plain {i:02d}" for i in range(36)),
]


def picture(colour: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (60, 40), colour).save(stream, "PNG")
    return stream.getvalue()


def rows() -> pd.DataFrame:
    captions = [
        f"{HOSTILE} a dog",
        "a dog </script><img src=http://example.invalid/x.png onerror=alert(3)>",
        "two cats \u202ereversed\u202c and a crane",
        "a bird javascript:alert(5)",
        *(f"a {['dog', 'cat', 'bird', 'crane'][i % 4]} number {i}" for i in range(36)),
    ]
    images = [picture(COLOURS[i % 4]) for i in range(40)]
    images[5] = b"this is no image"
    return pd.DataFrame(
        {
            "key": KEYS,
            "caption": captions,
            "image": images,
            "url": [f"https://host{i % 3}.example/{i}{HOSTILE}" for i in range(40)],
            "license": [f"CC {HOSTILE}" for _ in range(40)],
        }
    )


@dataclass(frozen=True)
class Audited:
    data: Path
    run: Path
    table: pd.DataFrame
    names: tuple[str, ...] = tuple(CONCEPTS)
    hostile: str = HOSTILE
    breakout: str = BREAKOUT


@pytest.fixture(scope="session")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Audited:
    folder = tmp_path_factory.mktemp("explored")
    table = rows()
    (folder / "data").mkdir()
    table.to_parquet(folder / "data" / "part.parquet")
    tags = pd.DataFrame(
        {
            "key": [KEYS[i] for i in range(40) for _ in range(2)],
            "concept": [c for i in range(40) for c in (CONCEPTS[i % 4], CONCEPTS[4 + i % 3])],
            "score": [0.2 + 0.01 * (i % 40) for i in range(80)],
        }
    )
    tags.to_csv(folder / "tags.csv", index=False)
    options = AuditOptions(image_tags=str(folder / "tags.csv"), workers=1, evidence=10)
    audit(folder / "data", CONCEPTS, folder / "run", options=options)
    return Audited(data=folder / "data", run=folder / "run", table=table)


@pytest.fixture
def copied(audited: Audited, tmp_path: Path) -> Path:
    """A copy of the run that a test may spoil."""
    return shutil.copytree(audited.run, tmp_path / "run")


@dataclass(frozen=True)
class Answer:
    status: int
    text: str
    data: bytes
    headers: dict[str, str]


def _ask(address: str, *, data: bytes | None = None, **headers: str) -> Answer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(address, data=data, headers=names)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            status, body, got = answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        status, body, got = error.code, error.read(), dict(error.headers)
    lower = {name.lower(): value for name, value in got.items()}
    return Answer(status, body.decode("utf-8", "replace"), body, lower)


@pytest.fixture(scope="session")
def ask() -> Callable[..., Answer]:
    """Ask a server: ``ask(address, data=..., host=...)``."""
    return _ask


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[..., Server]]:
    """Start servers: ``serve(run, curve=...)``; they are stopped at the end."""
    running: list[Server] = []

    def start(*runs: Path, **options: Any) -> Server:
        running.append(Server.listen(ExploreOptions(runs=runs, **options)).start())
        return running[-1]

    yield start
    for one in running:
        one.stop()


@pytest.fixture(scope="session")
def server(audited: Audited, serve: Callable[..., Server]) -> Server:
    return serve(audited.run)


@pytest.fixture(scope="session")
def chromium() -> Iterator[object]:
    """Debian's Chromium, driven by playwright, without a network."""
    program = shutil.which("chromium")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is not installed (Debian: apt-get install chromium)")
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()

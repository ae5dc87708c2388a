"""A headless Chromium, driven over its DevTools pipe: no driver, no websocket, no package."""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE = 120.0

LAUNCH = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for place, end in zip((3, 4), ends):
    os.dup2(end, place)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Chromium talks on file descriptors 3 and 4 when it is given --remote-debugging-pipe."""


class Page:
    """One tab, and everything that happened in it."""

    def __init__(self, browser: "Browser", target: str, session: str) -> None:
        self.browser, self.target, self.session = browser, target, session

    def call(self, method: str, **params: Any) -> Any:
        return self.browser.call(method, session=self.session, **params)

    def evaluate(self, expression: str) -> Any:
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        end = time.monotonic() + PATIENCE
        while self.evaluate("document.readyState + location.protocol") != "completefile:":
            assert time.monotonic() < end, f"{url} did not load"
            time.sleep(0.05)

    def seen(self, method: str) -> list[dict[str, Any]]:
        """Return the events of one kind so far."""
        self.evaluate("1")
        return [e["params"] for e in self._mine() if e["method"] == method]

    def wait_for(self, method: str) -> None:
        while not any(e["method"] == method for e in self._mine()):
            self.browser.listen()

    def _mine(self) -> list[dict[str, Any]]:
        return [e for e in self.browser.events if e.get("sessionId") == self.session]

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))


class Browser:
    """Chromium in its own empty profile, without network."""

    def __init__(self, program: str, profile: Path) -> None:
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        flags = (
            "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run "
            "--disable-background-networking --disable-component-update --disable-sync "
            "--disable-extensions --mute-audio --hide-scrollbars --remote-debugging-pipe"
        )
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                LAUNCH,
                str(theirs_in),
                str(theirs_out),
                program,
                *flags.split(),
                f"--user-data-dir={profile}",
                "about:blank",
            ],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._write = os.fdopen(ours_out, "wb", buffering=0)
        self._read = os.fdopen(ours_in, "rb")
        self._rest = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **params: Any) -> Any:
        number = self._send(method, session, params)
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            if "method" in answer:
                self._note(answer)

    def listen(self) -> None:
        """Wait for one event."""
        self._note(self._next())

    def _note(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        if event["method"] == "Page.javascriptDialogOpening":
            # an open dialog stops the page; the event tells the test that there was one
            self._send("Page.handleJavaScriptDialog", event["sessionId"], {"accept": True})

    def _send(self, method: str, session: str | None, params: dict[str, Any]) -> int:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        self._write.write(json.dumps(message).encode() + b"\0")
        return self._number

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], PATIENCE)
            assert ready, "Chromium does not answer; is a dialog of a script open?"
            chunk = os.read(self._read.fileno(), 1 << 16)
            assert chunk, "Chromium went away"
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(line))

    def page(self, *, width: int = 1200, height: int = 900, dark: bool = False) -> Page:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, target, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        scheme = "dark" if dark else "light"
        page.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        return page

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=PATIENCE)
        self._write.close()
        self._read.close()


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A running Chromium; without one the test is skipped, but in CI it fails."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        reason = "chromium is not installed (Debian: apt-get install chromium)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    running = Browser(program, tmp_path_factory.mktemp("chromium"))
    try:
        yield running
    finally:
        running.close()


HOSTILE = "<script>alert(1)</script>"
NAMES_OF_CONCEPTS = (
    "dog",
    "cat",
    "bird",
    "zebra",
    HOSTILE,
    "</script /><!--<script /\u2028x",
    '"><img src=x onerror=alert(2)>',
    "\u202egod",
    *(f"filler {i:03d}" for i in range(120)),
)
COLOURS = {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250)}
SHOWS = {"red": 0, "green": 1, "blue": 2}
"""A red picture shows a dog, a green one a cat, a blue one a bird."""

SAMPLES = (
    ("red", "a dog on the grass"),
    ("red", f"{HOSTILE} a dog"),
    ("green", "a cat \u202ereversed\u202c in a box"),
    ("blue", "a dog </script><!-- <img src=http://example.invalid/a.png onerror=alert(3)>"),
    ("blue", "a bird, see http://example.invalid/x.png"),
    ("green", "two cats and a dog"),
    ("red", "nothing that is counted"),
    ("green", ""),
)


def coloured(colour: str) -> bytes:
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (300, 200), COLOURS[colour]).save(stream, "PNG")
    return stream.getvalue()


def write_samples(path: Path) -> None:
    import io
    import tarfile

    with tarfile.open(path, "w") as tar:
        for number, (colour, caption) in enumerate(SAMPLES):
            for suffix, data in (("png", coloured(colour)), ("txt", caption.encode())):
                member = tarfile.TarInfo(f"{number:09d}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A dataset of hostile captions and its audit, under an encoder that sees colours only.

    Returns the dataset and the run folder.
    """
    import numpy as np
    import torch

    from conceptaudit.auditing import AuditOptions, audit
    from conceptaudit.image.clip import ClipModel

    folder = tmp_path_factory.mktemp("hostile")
    (folder / "set").mkdir()
    write_samples(folder / "set" / "00000.tar")
    n = len(NAMES_OF_CONCEPTS)
    np.save(folder / "vectors.npy", np.eye(n, dtype=np.float32))

    def prepare(_: ClipModel, picture: Any) -> Any:
        return torch.tensor(picture.getpixel((0, 0)))

    def launch(_: ClipModel, pixels: Any) -> Any:
        return lambda: np.eye(n, dtype=np.float32)[pixels.argmax(dim=1).numpy()]

    clip = ClipModel(name="colours", digest="colours-1", dimension=n, device="cpu")
    options = AuditOptions(
        clip="colours", concept_vectors=str(folder / "vectors.npy"), threshold=0.5, workers=1
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("conceptaudit.auditing.plan.find_clip", lambda *_, **__: clip)
        patch.setattr(ClipModel, "prepare", prepare)
        patch.setattr(ClipModel, "launch_pixels", launch)
        audit(folder / "set", list(NAMES_OF_CONCEPTS), folder / "run", options=options)
    return folder / "set", folder / "run"

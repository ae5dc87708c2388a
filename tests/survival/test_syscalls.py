"""One system call fails, or the process is killed in it: the next run writes the same bytes.

Every verb, every kind of call that changes a file system; a few moments of each, or every one with
``CONCEPTAUDIT_FAULTS=all``.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from .fault_server import KINDS
from .verbs import FILES, VERBS, Verb, lay, survivors, tree

HERE = Path(__file__).parent
ERRORS = {
    "write": errno.ENOSPC,
    "fsync": errno.EIO,
    "rename": errno.EIO,
    "open": errno.EMFILE,
    "unlink": errno.EACCES,
    "mkdir": errno.ENOSPC,
    "flock": errno.ENOLCK,
}
KILL = 0
EVERY = os.environ.get("CONCEPTAUDIT_FAULTS") == "all"


class Server:
    """The program, run in processes that are forked from one which has loaded it."""

    def __init__(self, shim: Path, folder: Path) -> None:
        environment = {**os.environ, "LD_PRELOAD": str(shim), "OMP_NUM_THREADS": "1"}
        self.log = folder / "log"
        self._errors = (folder / "server.log").open("w")
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "fault_server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            text=True,
        )

    def run(
        self, command: list[str], root: Path, kind: str = "", number: int = 0, error: int = 0
    ) -> tuple[int, dict[str, int], str]:
        """Run a command; return its exit code, its calls and what it printed."""
        self.log.unlink(missing_ok=True)
        asked = {
            "arguments": command, "root": str(root), "kind": kind, "number": number,
            "error": error, "log": str(self.log),
        }  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return answer["code"], answer["counts"], self.log.read_text(errors="replace")

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
        self._errors.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The program under the shim, which is compiled here."""
    folder = tmp_path_factory.mktemp("shim")
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("there is no C compiler, or no LD_PRELOAD: system calls cannot be replaced")
    shim = folder / "faults.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(shim), str(HERE / "faults.c"), "-ldl"]
    subprocess.run(command, check=True)
    running = Server(shim, folder)
    yield running
    running.close()


def single(name: str) -> Verb:
    """A verb that writes one file beside nothing."""
    command, inputs = FILES[name]
    return Verb(command, (), inputs, out="out.csv", held=".", workers=False)


CASES = {**VERBS, **{f"{name}-file": single(name) for name in ("predict", "compare", "report")}}
FAULTS = [(kind, error) for kind in KINDS for error in (ERRORS[kind], KILL)]


def few(name: str, kind: str, error: int, moments: Sequence[int]) -> Sequence[int]:
    """Choose one moment of a kind, for its error or for the kill: minutes instead of hours."""
    draw = zlib.crc32(f"{name} {kind}".encode())
    if not moments or (error == KILL) != bool(draw & 1):
        return ()
    return (moments[(draw >> 1) % len(moments)],)


def check_once(
    server: Server,
    verb: Verb,
    data: Path,
    place: Path,
    fault: tuple[str, int, int],
    expected: dict[str, str],
    texts: dict[Path, str],
) -> str | None:
    """Run a verb with one fault and again without; return what is wrong with it, if anything."""
    error = fault[2]
    code, _, said = server.run(verb.at(data, place), place, *fault)
    if code not in ((-signal.SIGKILL, 0) if error == KILL else (0, 2)) or "Traceback" in said:
        return f"exit code {code}: {said}"
    code, _, said = server.run(verb.at(data, place), place)
    if code != 0:
        return f"the rerun ended with {code}: {said}"
    if survivors(texts) != texts:
        return "a file of the user is gone"
    shutil.rmtree(place / "theirs")
    written = tree(place)
    if written != expected:
        return f"other files or bytes: {sorted(set(written.items()) ^ set(expected.items()))}"
    return None


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CASES))
def test_a_call_that_fails_or_kills(server: Server, data: Path, tmp_path: Path, name: str) -> None:
    verb = CASES[name]
    calm = tmp_path / "calm"
    calm.mkdir()
    before = tree(data)
    code, counts, said = server.run(verb.at(data, calm), calm)
    assert code == 0, said
    assert counts["write"] > 0
    expected = tree(calm)
    seen, faults = 0, []
    for kind, error in FAULTS:
        total = counts[kind]
        moments = range(1, total + 1)
        for number in moments if EVERY else few(name, kind, error, moments):
            place = tmp_path / "place"
            place.mkdir()
            texts = lay(place / "theirs")
            what = (
                f"{name}: {kind} number {number} of {total}, {errno.errorcode.get(error, 'kill')}"
            )
            fault = check_once(server, verb, data, place, (kind, number, error), expected, texts)
            if fault is not None:
                faults.append(f"{what}: {fault}")
            shutil.rmtree(place)
            seen += 1
    assert not faults, "\n".join(faults)
    assert seen >= len(KINDS) // 2
    assert tree(data) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name, verb in VERBS.items() if "overwrite" in verb.modes]
)
def test_a_kill_while_another_run_is_overwritten(
    server: Server, data: Path, tmp_path: Path, name: str
) -> None:
    verb = VERBS[name]
    other = (*verb.other, "--overwrite")
    base, calm = tmp_path / "base", tmp_path / "calm"
    for place, more in ((base, ()), (calm, verb.other)):
        place.mkdir()
        code, _, said = server.run(verb.at(data, place, *more), place)
        assert code == 0, said
    expected = tree(calm / verb.held)
    probe = shutil.copytree(base, tmp_path / "probe")
    _, counts, _ = server.run(verb.at(data, probe, *other), probe)
    for kind in ("rename", "unlink", "open"):
        total = counts[kind]
        moments = range(1, total + 1)
        for number in moments if EVERY else moments[total // 2 :][:1]:
            place = shutil.copytree(base, tmp_path / "place")
            texts = lay(place / verb.held)
            what = f"{name}: {kind} number {number} of {total}"
            server.run(verb.at(data, place, *other), place, kind, number, KILL)
            assert survivors(texts) == texts, what
            code, _, said = server.run(verb.at(data, place, *other), place)
            assert code == 0, (what, said)
            assert survivors(texts) == texts, what
            for path in texts:
                path.unlink()
            assert tree(place / verb.held) == expected, what
            shutil.rmtree(place)

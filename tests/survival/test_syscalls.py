"""One system call fails, or the process is killed in it: the next run writes the same bytes.

Every verb, every kind of call that changes a file system; a few moments of each, or every one with
``CONCEPTAUDIT_FAULTS=all``.
"""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pytest

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
FAULTS = [(kind, error) for kind in ERRORS for error in (ERRORS[kind], KILL)]


def few(name: str, kind: str, error: int, moments: Sequence[int]) -> Sequence[int]:
    """Choose a moment of every other kind, for its error or for the kill: a minute, not hours.

    Kinds take turns from verb to verb, so that each has its error and its kill in several of them.
    """
    draw = zlib.crc32(f"{name} {kind}".encode())
    turn = list(CASES).index(name) + list(ERRORS).index(kind)
    if not moments or turn % 2 or (error == KILL) != bool(draw & 1):
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
    assert seen >= 2
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
    kinds = ("rename", "unlink", "open")
    for kind in kinds if EVERY else (kinds[list(VERBS).index(name) % len(kinds)],):
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


def lay_rows(folder: Path, form: str) -> Path:
    """Write three files of a form with captions; return the one in the middle."""
    folder.mkdir()
    for number in range(3):
        rows = pd.DataFrame({"key": [f"{number}-{row}" for row in range(400)], "caption": "a dog"})
        path = folder / f"{number}.{form}"
        if form == "tar":
            with tarfile.open(path, "w") as archive:
                for key in rows["key"]:
                    info = tarfile.TarInfo(f"{key}.txt")
                    info.size = 5
                    archive.addfile(info, io.BytesIO(b"a dog"))
        elif form == "parquet":
            rows.to_parquet(path, row_group_size=100)
        elif form == "jsonl":
            rows.to_json(path, orient="records", lines=True)
        elif form == "jsonl.gz":
            rows.to_json(path, orient="records", lines=True, compression="gzip")
        else:
            rows.to_csv(path, index=False)
    return folder / f"1.{form}"


@pytest.mark.parametrize("form", ["csv", "jsonl", "jsonl.gz", "parquet", "tar"])
def test_a_file_that_cannot_be_read_is_named_and_skipped(
    server: Server, tmp_path: Path, form: str
) -> None:
    path = lay_rows(tmp_path / "data", form)
    (tmp_path / "c.txt").write_text("dog\n")
    command = ["audit", str(path.parent), "-c", str(tmp_path / "c.txt"), "--workers", "1", "-o"]
    _, counts, said = server.run([*command, str(tmp_path / "calm")], path)
    total = counts["read"]
    assert total > 0, said
    for number in (1, total // 2 + 1):
        out = tmp_path / f"run-{number}"
        what = f"{form}: read {number} of {total}"
        code, _, said = server.run([*command, str(out)], path, "read", number, errno.EIO)
        assert code == 2, (what, said)
        assert str(path) in said, (what, said)
        assert "Traceback" not in said, (what, said)
        skipping = [*command, str(out), "--skip-unreadable"]
        code, _, said = server.run(skipping, path, "read", number, errno.EIO)
        assert code == 0, (what, said)
        assert str(path) in said, (what, said)
        table = pd.read_parquet(out / "frequencies.parquet")
        assert table["n_text"].tolist() == [800], what
        code, _, said = server.run([*command, str(out), "--resume"], path)  # the disk is mended
        assert code == 0, (what, said)
        assert tree(out) == tree(tmp_path / "calm"), what

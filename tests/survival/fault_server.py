"""Runs the program in forked processes in which one system call fails, or kills; see `faults.c`.

Reads one JSON object a line (``arguments, root, kind, number, error, log``) and answers with one:
the exit code, and how often each kind of call was made where the process lived to say so.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import sys
import traceback
from pathlib import Path

KINDS = ("write", "fsync", "rename", "open", "unlink", "mkdir", "flock", "read")
PRELOADED = (
    "pandas", "pyarrow.parquet", "scipy.optimize", "spacy", "duckdb", "torch", "open_clip", "faiss",
    "matplotlib.figure", "conceptaudit.cli.main", "conceptaudit.auditing",
    "conceptaudit.noun_vocabulary",
    "conceptaudit.image.clip", "conceptaudit.longtail", "conceptaudit.zeroshot.evaluate",
    "conceptaudit.zeroshot.retrieve", "conceptaudit.curves", "conceptaudit.report",
    "conceptaudit.image.index",
)  # fmt: skip
"""Imported once; nothing here may start a thread, or the forked processes hang."""


def run(shim: ctypes.CDLL, asked: dict, counted: Path) -> int:
    """Run the program in this process, which has been forked for it."""
    log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for handle in (1, 2):
        os.dup2(log, handle)
    kind = KINDS.index(asked["kind"]) if asked["kind"] else -1
    shim.fault_arm(asked["root"].encode(), kind, asked["number"], asked["error"])
    code = 70
    try:
        from conceptaudit.cli.main import main

        code = main(asked["arguments"])
    except BaseException:  # noqa: BLE001 -- whatever it is, it is reported as a traceback
        traceback.print_exc()
    shim.fault_arm(b"", -1, 0, 0) if asked["kind"] else None
    sys.stdout.flush()
    sys.stderr.flush()
    counts = {name: shim.fault_count(number) for number, name in enumerate(KINDS)}
    counted.write_text(json.dumps(counts))
    return code


def main() -> None:
    """Answer until there is no more to run."""
    shim = ctypes.CDLL(None)
    shim.fault_arm.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_long, ctypes.c_int]
    shim.fault_count.restype = ctypes.c_long
    for name in PRELOADED:
        importlib.import_module(name)
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        asked = json.loads(line)
        counted = Path(asked["log"] + ".counts")
        counted.unlink(missing_ok=True)
        process = os.fork()
        if not process:
            code = 71
            try:
                code = run(shim, asked, counted)
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        counts = json.loads(counted.read_text()) if counted.exists() else {}
        answers.write(json.dumps({"code": code, "counts": counts}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()

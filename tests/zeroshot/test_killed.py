"""An evaluation that is killed goes on, and ends in the same bytes as one that was not."""

import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from conceptaudit.artifacts import LOG
from conceptaudit.options.zeroshot import EvaluationOptions
from conceptaudit.zeroshot.evaluate import evaluate
from conceptaudit.zeroshot.sets import open_evaluation_set

from .conftest import TEMPLATES, add_member, write_lines

ARCHIVES = 12


@pytest.fixture
def many_archives(pictures, class_names, tmp_path):
    root = tmp_path / "set"
    (root / "test").mkdir(parents=True)
    for shard in range(ARCHIVES):
        with tarfile.open(root / "test" / f"{shard}.tar", "w") as archive:
            for number, (index, data) in list(enumerate(pictures))[shard::ARCHIVES]:
                add_member(archive, f"s{number:07d}.jpg", data)
                add_member(archive, f"s{number:07d}.cls", str(index).encode())
    write_lines(root / "classnames.txt", class_names)
    write_lines(root / "zeroshot_classification_templates.txt", TEMPLATES)
    return root


@pytest.mark.parametrize(
    ("options", "marks"),
    [([], "out/guesses-lab"), (["--save-embeddings", "kept"], "kept/lab/shards")],
    ids=["pictures", "embeddings"],
)
def test_killed_in_the_middle(many_archives, tmp_path, options, marks):
    command = ["evaluate", "set", "--clip", "lab", "-o", "out", "--workers", "1", *options]
    running = subprocess.Popen(
        [sys.executable, "-m", "conceptaudit", *command],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while len(list((tmp_path / marks).glob("*.json"))) < 2:
            assert running.poll() is None, "it ended before it could be killed"
            time.sleep(0.002)
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    done = len(list((tmp_path / marks).glob("*.json")))
    assert 2 <= done < ARCHIVES
    assert not (tmp_path / "out" / "manifest.json").exists()

    opened = open_evaluation_set(many_archives)
    for out, kept in (("out", "kept"), ("whole", "whole-kept")):
        save = tmp_path / kept if options else None
        evaluate(
            opened,
            ["lab"],
            tmp_path / out,
            options=EvaluationOptions(save_embeddings=save),
            workers=1,
        )
    for one, other in (("out", "whole"), ("kept", "whole-kept")):
        files, others = (
            {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}
            for root in (tmp_path / one, tmp_path / other)
        )
        files.pop(Path(LOG), None)  # it has clocks in it
        assert files.keys() == others.keys()
        # where the embeddings lie is part of what an evaluation of them was made from
        differ = {str(name) for name in files if files[name] != others[name]}
        assert {n for n in differ if not n.endswith(".json")} == set()
        assert options or not differ

"""kill −9 at any moment: the same command gives the same bytes, and nothing is left over."""

import json
import os
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "checks" / "chaos.py"


def chaos(program, *options):
    done = program([sys.executable, str(SCRIPT), *options])
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["faults"] == []
    return found


def test_killed_runs_and_parts_end_like_undisturbed_ones(program):
    names = ("--only", "text-exact-parts", "--only", "embed")
    found = chaos(
        program, *names, "--captions", "160", "--kills", "4", "--each", "2", "--seed", "1"
    )
    assert found["kills"] >= 3  # two and one
    assert {where.split(",")[0] for where in found["where"]} == {"text-exact-parts", "embed"}


# verbs that start a model take minutes each: only where every fault is asked for, as their kills in
# system calls (test_syscalls) run always
LONG = ("calibrate", "longtail", "evaluate") if os.environ.get("CONCEPTAUDIT_FAULTS") else ()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "step"), [("fit", 6), ("compare", 8), ("index", 5), *((name, 40) for name in LONG)]
)
def test_every_verb_may_be_killed_before_any_of_its_files_is_in_place(program, name, step):
    found = chaos(program, "--every", "--only", name, "--captions", "160", "--step", str(step))
    assert found["kills"] >= 1


def test_a_run_may_be_killed_before_any_of_its_files_is_in_place(program):
    found = chaos(program, "--every", "--only", "vocab", "--captions", "40")
    assert found["kills"] >= 5

"""kill −9 at random moments: the same command gives the same bytes, and nothing is left over."""

import json
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "chaos.py"


@pytest.mark.parametrize(("name", "workers"), [("text-exact", "1"), ("embed", "2")])
def test_killed_runs_end_like_undisturbed_ones(program, name, workers):
    command = [sys.executable, str(SCRIPT), "--kills", "2", "--each", "2"]
    done = program([*command, "--only", name, "--workers", workers])
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] == 2
    assert found["faults"] == []

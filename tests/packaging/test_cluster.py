"""Scripts for clusters and containers, checked without running them: no scheduler is at hand."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer.main
import yaml

from conceptaudit.cli.main import app

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "scripts" / "cluster"
SLURM = sorted((CLUSTER / "slurm").glob("*.sbatch"))
DOCKER = sorted(CLUSTER.glob("Dockerfile*"))
INSTRUCTIONS = {
    "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "LABEL", "RUN", "USER", "WORKDIR",
}  # fmt: skip


def joined(path: Path) -> list[str]:
    """Lines of a script, those that end in a backslash joined with the next, without comments."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def calls(path: Path) -> list[list[str]]:
    """Words of each call of conceptaudit."""
    found = [line.removeprefix("srun ") for line in joined(path)]
    return [shlex.split(line)[1:] for line in found if line.startswith("conceptaudit ")]


@pytest.mark.parametrize("path", [*SLURM, CLUSTER / "slurm" / "submit"], ids=lambda one: one.name)
def test_slurm_scripts_parse(path):
    done = subprocess.run(["bash", "-n", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "set -euo pipefail" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", SLURM, ids=lambda one: one.name)
def test_slurm_options(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    numbers = [k for k, line in enumerate(lines) if line.startswith("#SBATCH")]
    first = next(k for k, line in enumerate(lines) if line and not line.startswith("#"))
    assert max(numbers) < first  # Slurm reads none after the first command
    given = dict(
        re.fullmatch(r"#SBATCH --([a-z-]+)(?:=(\S+))?", lines[k]).groups() for k in numbers
    )
    assert {"partition", "mem", "time", "cpus-per-task", "output", "error", "requeue"} <= set(given)
    assert re.fullmatch(r"\d{2}:\d{2}:\d{2}", given["time"])
    assert re.fullmatch(r"\d+G", given["mem"])
    if "array" in given:
        low, high, limit = re.fullmatch(r"(\d+)-(\d+)%(\d+)", given["array"]).groups()
        assert int(low) == 0  # parts count from 0
        assert int(limit) <= int(high) + 1
        assert "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" in path.read_text(encoding="utf-8")


def test_the_merge_waits_for_the_array():
    text = (CLUSTER / "slurm" / "submit").read_text(encoding="utf-8")
    assert '--dependency="afterok:$array"' in text
    named = set(re.findall(r"[\w-]+\.sbatch", text))
    assert named == {"audit-text.sbatch", "merge.sbatch"}


@pytest.mark.parametrize("path", SLURM, ids=lambda one: one.name)
def test_commands_have_only_options_that_exist(path):
    commands = typer.main.get_command(app).commands
    assert calls(path)
    for words in calls(path):
        known = {name for option in commands[words[0]].params for name in option.opts}
        assert {word for word in words if re.match("--?[a-z]", word)} <= known


def test_ray_cluster():
    cluster = yaml.safe_load((CLUSTER / "ray" / "cluster.yaml").read_text(encoding="utf-8"))
    types = cluster["available_node_types"]
    assert cluster["head_node_type"] in types
    assert all(one["resources"].keys() <= {"CPU", "GPU"} for one in types.values())
    limits = [one.get("max_workers", 0) for one in types.values()]
    assert max(limits) <= cluster["max_workers"]
    starts = [*cluster["head_start_ray_commands"], *cluster["worker_start_ray_commands"]]
    assert all("RAY_USAGE_STATS_ENABLED=0" in one for one in starts if "ray start" in one)
    assert "/shared" in " ".join(cluster["setup_commands"])


@pytest.mark.parametrize("path", DOCKER, ids=lambda one: one.name)
def test_dockerfiles(path):
    lines = joined(path)
    words = [line.split(maxsplit=1) for line in lines]
    assert {word for word, _ in words} <= INSTRUCTIONS
    assert words[0][0] == "FROM"
    image, _, tag = words[0][1].partition(":")
    assert image == "python"
    assert tag.startswith("3.")
    last = dict(words)  # the last of each instruction
    assert last["USER"] not in ("root", "0")
    assert json.loads(last["ENTRYPOINT"]) == ["conceptaudit"]
    assert json.loads(last["CMD"])
    for word, rest in words:
        if word == "COPY":
            assert all((ROOT / source).exists() for source in rest.split()[:-1])
        if word == "RUN":
            done = subprocess.run(["bash", "-n", "-c", rest], check=False, capture_output=True)
            assert done.returncode == 0
    [installed] = re.findall(r"/source\[([a-z0-9,]+)\]", path.read_text(encoding="utf-8"))
    assert ("gpu" in installed.split(",")) == path.name.endswith(".gpu")

"""The same work on a Ray cluster: a real one, started here."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from conceptaudit.artifacts import STARTED, file_digest, write_json
from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.engine import EngineChoice, open_engine
from conceptaudit.engine.base import Engine
from conceptaudit.engine.dispatcher import TRIES
from conceptaudit.engine.ray_cluster import (
    QUIET,
    RayEngine,
    TaskActor,
    forwarded_environment,
    installed_versions,
)
from conceptaudit.errors import ConceptAuditError, ConfigError, DataError
from conceptaudit.lab import LabConfig, generate
from conceptaudit.longtail import LongTailOptions, build_long_tail
from conceptaudit.store.partials import ScratchFolder

from .conftest import MemoryGroup
from .tasks import Fail, LoseOnce

pytestmark = pytest.mark.filterwarnings(
    # Ray leaves pipes and log files of the cluster to the garbage collector
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Two processors and a small object store; engines use the connection that is there."""
    ray = pytest.importorskip("ray")
    os.environ.update(QUIET)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    with ScratchFolder(Path("/tmp")) as folder:  # short: Ray's sockets are below it
        ray.init(
            num_cpus=2,
            object_store_memory=100 * 2**20,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=str(folder / "r"),  # Ray opens it to everybody
        )
        yield
        ray.shutdown()
    signal.signal(signal.SIGTERM, on_sigterm)


def engine(workers: int = 2, folder: Path | None = None) -> Engine:
    return open_engine(EngineChoice(kind="ray", workers=workers), folder=folder)


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("how", ["kill", "memory"])
def test_a_lost_actor_is_replaced_and_its_items_are_done(how: str, tmp_path: Path) -> None:
    task = Fail(at=5, how=how, folder=tmp_path, times=1)
    assert dict(engine().run(task, range(12))) == {n: n * n for n in range(12)}
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.usefixtures("cluster")
def test_an_item_that_costs_every_actor_is_named(tmp_path: Path) -> None:
    task = Fail(at=1, how="kill", folder=tmp_path)
    with pytest.raises(ConceptAuditError, match=rf"{TRIES} workers died while .* on 1,"):
        dict(engine(1).run(task, range(3)))
    assert len(list(tmp_path.iterdir())) == TRIES


@pytest.mark.usefixtures("cluster")
def test_an_error_of_the_task_comes_out_as_itself(tmp_path: Path) -> None:
    task = Fail(at=2, how="error", folder=tmp_path)
    with pytest.raises(DataError, match="row 3") as caught:
        dict(engine().run(task, range(4)))
    assert type(caught.value) is DataError


@pytest.mark.usefixtures("cluster")
def test_a_run_folder_that_workers_do_not_see_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a worker goes to the folder of its run; this one is our process
    write_json(tmp_path / STARTED, {"digest": "x"})
    task = Fail(at=-1, how="", folder=tmp_path)
    assert len(dict(engine(folder=tmp_path).run(task, range(3)))) == 3
    elsewhere = TaskActor(str(tmp_path))
    elsewhere.greet(task, (str(tmp_path / STARTED), file_digest(tmp_path / STARTED)))
    for path, digest in ((tmp_path / "other" / STARTED, "0"), (tmp_path / STARTED, "0")):
        with pytest.raises(ConfigError, match="does not see the run folder"):
            elsewhere.greet(task, (str(path), digest))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hungry(RayEngine):
    """Actors, of which one that has embedded its first shard needs too much memory."""

    how: str
    mark: Path

    def run(self, task: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        if "embeddings" in repr(task):
            task = LoseOnce(task, self.how, self.mark)
        return RayEngine.run(self, task, items)


CONCEPTS = ["dog", "cat", "red car", "tree"]


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated pictures in tars, and their audit by one process."""
    folder = tmp_path_factory.mktemp("audited")
    lab = generate(LabConfig(n_samples=45, shard_size=15, seed=4), folder / "data")
    options = AuditOptions(clip="lab", engine="serial", threshold=0.2)
    audit(lab.folder, CONCEPTS, folder / "run", options=options)
    return folder


@pytest.mark.usefixtures("cluster")
def test_an_audit_whose_actor_the_kernel_kills_writes_the_same_bytes(
    audited: Path, tmp_path: Path, memory_group: MemoryGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    hungry = partial(Hungry, how=str(memory_group.folder), mark=tmp_path / "mark")
    monkeypatch.setattr("conceptaudit.engine.ray_cluster.RayEngine", hungry)
    options = AuditOptions(clip="lab", engine="ray", workers=1, threshold=0.2)
    audit(audited / "data", CONCEPTS, tmp_path / "run", options=options)
    assert memory_group.kills == 1
    found = tree(tmp_path / "run")
    assert found == tree(audited / "run")
    assert {name.partition("/")[0] for name in found} >= {"text", "embeddings", "image"}


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_other_versions_on_a_machine_are_named() -> None:
    actor = TaskActor(str(Path.cwd()))
    actor.greet(str, None, installed_versions())
    other = {**installed_versions(), "numpy": "1.0", "spacy": "0.1"}
    with pytest.raises(ConfigError, match=r"numpy \S+ where the first process has 1\.0, spacy"):
        actor.greet(str, None, other)


def test_workers_are_given_where_models_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", "/models")
    monkeypatch.setenv("HOME_OF_NOBODY", "x")
    given = forwarded_environment()
    assert given["HF_HOME"] == "/models"
    assert "HOME_OF_NOBODY" not in given
    monkeypatch.setenv("HF_HOME", "/elsewhere")
    TaskActor(str(Path.cwd()), given)
    assert os.environ["HF_HOME"] == "/models"


def test_ray_that_is_not_installed_is_named() -> None:
    script = (
        "import sys; sys.modules['ray'] = None\n"
        "import importlib.util as u; found = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'ray' else found(name, *a)\n"
        "from conceptaudit.engine import EngineChoice, open_engine\n"
        "open_engine(EngineChoice(kind='ray'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert "MissingDependencyError" in done.stderr
    assert "pip install 'conceptaudit[ray]'" in done.stderr


@pytest.mark.usefixtures("cluster")
def test_a_long_tail_set_has_the_same_bytes(audited: Path, tmp_path: Path) -> None:
    trees = []
    for kind, workers in (("serial", 1), ("ray", 2)):
        out = tmp_path / kind / "set"
        build_long_tail(
            audited / "run",
            audited / "data",
            out,
            options=LongTailOptions(k=3, per_class=4),
            workers=EngineChoice(kind=kind, workers=workers),
        )
        trees.append(tree(out))
    assert trees[0] == trees[1]
    assert len(trees[0]) > 10

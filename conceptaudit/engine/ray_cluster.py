"""Workers of a Ray cluster: on this machine, or on all machines of a running cluster."""

from __future__ import annotations

import atexit
import logging
import os
import platform
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from conceptaudit.artifacts import RUN_PACKAGES, file_digest, package_versions
from conceptaudit.engine.base import AnyTask, Item, Result, available_cpus
from conceptaudit.engine.dispatcher import Dispatcher, keep, take
from conceptaudit.errors import ConceptAuditError, ConfigError, MissingDependencyError
from conceptaudit.process import claim_process
from conceptaudit.store.partials import ScratchFolder

# Environment variables that mean the same to every worker as to the first process, where set.
FORWARDED = (
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "TORCH_HOME",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
)


def forwarded_environment() -> dict[str, str]:
    """Return the variables that workers on other machines are given."""
    return {name: os.environ[name] for name in FORWARDED if name in os.environ}


def installed_versions() -> dict[str, str]:
    """Return the versions that decide what a worker computes: of Python, of us, of packages."""
    packages = package_versions("conceptaudit", *RUN_PACKAGES)
    known = {name: str(version) for name, version in packages.items() if version}
    return {"python": platform.python_version(), **known}


def check_versions(first: Mapping[str, str]) -> None:
    """Refuse to work on a machine whose packages are not those of the first process.

    Examples
    --------
    >>> check_versions(installed_versions())
    """
    here = installed_versions() if first else {}
    others = [
        f"{name} {here.get(name, 'missing')} where the first process has {version}"
        for name, version in sorted(first.items())
        if here.get(name) != version
    ]
    if others:
        raise ConfigError(
            f"The Ray worker on {os.uname().nodename} has other versions: {', '.join(others)}. "
            "Counts must not depend on which machine counted: install the same environment on all "
            "machines of the cluster, or submit the job with a Ray runtime environment."
        )


# Read by Ray: nothing is reported to anybody; what the second one says becomes its default.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}

# Of a cluster that is started here: tasks go through it, results are files.
OBJECT_STORE_BYTES = 256 * 2**20

ADDRESS_SECONDS = 10.0  # how long an address may take to answer

# Bytes of a path below which Ray's sockets (`conceptaudit.tmp.ABCDEFGH/session_DATE_TIME_PID/
# sockets/plasma_store`) stay within the 107 that the system allows.
LONGEST_PLACE = 14


@dataclass(slots=True)
class _Joining:
    """The connection to a cluster, while it is being made in the background."""

    future: Future[None] | None = None


_joining = _Joining()


def require_ray() -> None:
    """Check that Ray is installed."""
    if find_spec("ray") is None:
        raise MissingDependencyError(
            "The engine 'ray' needs the package Ray: pip install 'conceptaudit[ray]'."
        )


class TaskActor:
    """What runs in a worker: holds the task of a run, applies it to items."""

    def __init__(self, folder: str, environment: Mapping[str, str] | None = None) -> None:
        claim_process()
        os.environ.update(environment or {})  # before anything that reads them is imported
        # paths that the user gave relative to the folder of the first process mean the same here
        if Path(folder).is_dir():
            os.chdir(folder)
        self._task: AnyTask | None = None

    def greet(
        self,
        task: AnyTask,
        witness: tuple[str, str] | None,
        versions: Mapping[str, str] | None = None,
    ) -> None:
        """Take the task; check that the machine has the same packages and sees the run folder."""
        self._task = task
        check_versions(versions or {})
        if witness is None:
            return
        path, digest = Path(witness[0]), witness[1]
        if not path.is_file() or file_digest(path) != digest:
            raise ConfigError(
                f"A Ray worker on {os.uname().nodename} does not see the run folder {path.parent}: "
                f"{path.name} is not there as it was written. Name an output folder on a file "
                "system that all machines of the cluster share, under the same path."
            )

    def apply(self, item: Any) -> Any:
        """Apply the task to an item."""
        if self._task is None:
            raise ConceptAuditError("A worker was given an item before its task.")
        return self._task(item)


class RayWorker:
    """One actor of a Ray cluster."""

    def __init__(
        self, actor: Any, kind: Hashable, task: Any, witness: tuple[str, str] | None
    ) -> None:
        self._actor = actor
        self._kind = kind
        self._task = task
        self._witness = witness

    def greet(self) -> Future[Any]:
        """Wait for the actor, in the background."""
        future: Future[Any] = self._actor.greet.remote(
            self._task, self._witness, installed_versions()
        ).future()
        return future

    def submit(self, item: Any) -> Future[Any]:
        """Hand it an item."""
        future: Future[Any] = self._actor.apply.remote(item).future()
        return future

    def is_loss(self, error: BaseException) -> bool:
        """Whether the actor died or was killed, or memory ran out in it."""
        from ray import exceptions

        lost = (
            exceptions.RayActorError,
            exceptions.OutOfMemoryError,
            exceptions.WorkerCrashedError,
            exceptions.ObjectLostError,
        )
        return isinstance(error, lost) or isinstance(self.cause(error), MemoryError)

    def cause(self, error: BaseException) -> BaseException:
        """Return the error that the task raised."""
        from ray.exceptions import RayTaskError

        found = error.cause if isinstance(error, RayTaskError) else None
        return found if isinstance(found, BaseException) else error

    def interrupt(self) -> None:
        """Kill the actor: what it writes is whole or absent."""
        self.stop()

    def release(self) -> None:
        """Keep the actor for the next run, or end it."""
        if not keep(self._kind, self._actor, self.stop):
            self.stop()

    def stop(self) -> None:
        """End the actor."""
        import ray

        ray.kill(self._actor, no_restart=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class RayEngine:
    """Runs items in actors of a Ray cluster.

    A cluster that is started here stays up until the program ends, so that the stages of a run
    share it; one that the program is connected to already is used as it is.
    """

    workers: int | None = None  # actors; None for one per processor of the cluster, or per GPU
    address: str | None = None  # of a running cluster; None starts one on this machine
    # how many items will be run, where known: no more actors are started
    n_items: int | None = None
    on_gpu: bool = False  # whether every actor gets a GPU to itself
    witness: Path | None = None  # a file in the run folder that every worker has to see

    def run(
        self, task: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result]]:
        """Yield each item with its result as it is done."""
        if not items:
            return
        import ray

        self._connect()
        gpus, cpus = self._share_of_worker()
        found = sum(int(node.get("GPU" if self.on_gpu else "CPU", 0)) for node in _machines())
        if self.on_gpu and not found:
            raise ConfigError(
                "This stage was asked to run on a GPU, and the Ray cluster has none. Add machines "
                "with GPUs to it, or name --device cpu."
            )
        count = min(self.workers or found, self.n_items or len(items), len(items))
        actors = ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0, max_task_retries=0)(
            TaskActor
        )
        sent = ray.put(task)
        witness = None
        if self.witness is not None and self.witness.is_file():
            witness = (str(self.witness.resolve()), file_digest(self.witness))

        environment = forwarded_environment()
        kind = ("ray", gpus, cpus)

        def start() -> RayWorker:
            actor = take(kind) or actors.remote(str(Path.cwd()), environment)
            return RayWorker(actor, kind, sent, witness)

        yield from Dispatcher(start, items).run(max(count, 1))

    def expect(self, loaders: Sequence[str]) -> None:  # noqa: ARG002 -- an actor loads by itself
        """Begin in the background to join the cluster, or to start one: seconds of waiting."""
        if _joining.future is None:
            _joining.future = Future()
            threading.Thread(
                target=self._join_and_stay, args=(_joining.future,), daemon=True
            ).start()

    def _join_and_stay(self, done: Future[None]) -> None:
        """Join in a thread that lasts: the system ends Ray's processes with the one they are of."""
        try:
            self._join()
            done.set_result(None)
        except BaseException as error:  # noqa: BLE001 -- raised again by who waits for it
            done.set_exception(error)
        threading.Event().wait()

    def _connect(self) -> None:
        """Join the cluster, or wait for that to end where it has begun."""
        begun, _joining.future = _joining.future, None
        if begun is None:
            self._join()
        else:
            begun.result()

    def _join(self) -> None:
        """Join the cluster, or start one that says nothing and reports nothing."""
        import ray

        if ray.is_initialized():
            return
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        how: dict[str, Any] = {"address": self.address}
        if self.address is None:
            how = {
                "address": "local",  # no other that Ray may find on this machine
                "num_cpus": max(self.workers or 0, available_cpus()),
                "object_store_memory": OBJECT_STORE_BYTES,
                "include_dashboard": False,
                "_temp_dir": str(_private_folder() / "r"),  # Ray opens it to everybody
            }
        if self.address is not None:
            check_address(self.address)
        on_sigterm = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(**how, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            where = "on this machine" if self.address is None else f"at {self.address!r}"
            raise ConfigError(
                f"No Ray cluster could be reached or started {where}: {error}. Start one with "
                "'ray start --head' and name its address with --ray-address."
            ) from error
        finally:
            # Ray puts its own in place, where it can: what we do on SIGTERM is not its matter
            if on_sigterm is not None and threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, on_sigterm)

    def _share_of_worker(self) -> tuple[int, int]:
        """GPUs and processors of one worker: on a GPU, the machine's processors per GPU decode."""
        if not self.on_gpu:
            return 0, 1
        shares = [
            int(node.get("CPU", 0) // node["GPU"]) for node in _machines() if node.get("GPU", 0)
        ]
        return 1, max(min(shares, default=1), 1)


def check_address(address: str) -> None:
    """Refuse an address at which nothing listens: Ray itself would try for minutes.

    Examples
    --------
    >>> check_address("auto")
    """
    if address in ("auto", "local"):
        return
    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if not separator or not port.isdigit():
        raise ConfigError(
            f"--ray-address must be HOST:PORT, such as 10.0.0.5:6379, or 'auto'. Got {address!r} "
            "instead."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), ADDRESS_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise ConfigError(
            f"Nothing answers at --ray-address {address} within {ADDRESS_SECONDS:g} seconds "
            f"({error}). Start a cluster there with 'ray start --head', or check host and port."
        ) from error


def _private_folder() -> Path:
    """Make the folder for the logs and sockets of a cluster of ours, which goes when we go."""
    import ray

    place = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
    if len(os.fsencode(place)) > LONGEST_PLACE:
        place = Path("/tmp")  # noqa: S108 -- the folder below it is private
    folder = ScratchFolder(place)

    def end() -> None:
        ray.shutdown()
        folder.close()

    atexit.register(end)
    return folder.path


def _machines() -> list[dict[str, float]]:
    """Return what each machine of the cluster has of processors and GPUs."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]  # Ray's own gap
    return [node["Resources"] for node in nodes if node["Alive"]]

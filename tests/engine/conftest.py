"""A group of processes with so little memory that the kernel kills who wants more."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from .tasks import TOO_MUCH


@dataclass(frozen=True)
class MemoryGroup:
    """A control group of the kernel (version 1 or 2)."""

    folder: Path

    @property
    def kills(self) -> int:
        """Processes that the kernel has killed in it because memory ran out."""
        for name in ("memory.events", "memory.oom_control"):
            if (self.folder / name).exists():
                lines = (self.folder / name).read_text(encoding="utf-8").splitlines()
                return int(dict(line.split() for line in lines)["oom_kill"])
        raise AssertionError(f"{self.folder} does not count")


@pytest.fixture
def memory_group() -> Iterator[MemoryGroup]:
    site = Path("/sys/fs/cgroup")
    first = (site / "memory").is_dir()
    folder = (site / "memory" if first else site) / f"conceptaudit-test-{os.getpid()}"
    limit = "memory.limit_in_bytes" if first else "memory.max"
    try:
        folder.mkdir()
        (folder / limit).write_text(str(TOO_MUCH // 2), encoding="utf-8")
        if not first:
            (folder / "memory.swap.max").write_text("0", encoding="utf-8")
    except OSError as error:
        with suppress(OSError):
            folder.rmdir()
        pytest.skip(f"no control group with a limit on memory can be made here: {error}")
    yield MemoryGroup(folder)
    for _ in range(100):  # until the kernel has buried its processes
        with suppress(OSError):
            folder.rmdir()
            return
        time.sleep(0.05)

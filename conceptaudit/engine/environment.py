"""What all machines of a cluster have to have in common: versions, and variables that are set."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping

from conceptaudit.artifacts import RUN_PACKAGES, package_versions
from conceptaudit.errors import ConfigError

FORWARDED = (
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "TORCH_HOME",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
)
"""Environment variables that mean the same to every worker as to the first process, where set."""


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

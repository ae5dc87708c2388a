"""Ask whether known vulnerabilities concern the installed dependencies.

`pip-audit` is used where it is installed and its service answers, else PyPI's own JSON, which lists
the vulnerabilities of every release. What cannot be asked is "not checked", never "nothing found".

Exit code 1 where something is known; 0 where nothing is known or nothing could be checked.

Examples
--------
python scripts/check_dependencies.py
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
URL = "https://pypi.org/pypi/{name}/{version}/json"
SECONDS = 15


def named() -> list[str]:
    """Name the packages that pyproject.toml asks for, extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    lines = [*project["dependencies"], *(line for extra in extras for line in extra)]
    names = {re.split(r"[\[<>=!~;, ]", line, maxsplit=1)[0].lower() for line in lines}
    return sorted(names - {project["name"]})


def installed() -> dict[str, str]:
    """Versions of those that are installed."""
    found = {}
    for name in named():
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def ask_pip_audit(packages: dict[str, str]) -> dict[str, list[str]] | None:
    """Ask pip-audit; None where it is not there or gets no answer."""
    program = shutil.which("pip-audit")
    if program is None:
        return None
    wanted = "".join(f"{name}=={version}\n" for name, version in packages.items())
    command = [program, "-r", "/dev/stdin", "--no-deps", "--disable-pip", "-f", "json"]
    try:
        done = subprocess.run(
            command, input=wanted, capture_output=True, text=True, check=False, timeout=300
        )
        told = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return {
        one["name"]: [flaw["id"] for flaw in one.get("vulns", [])]
        for one in told["dependencies"]
        if "skip_reason" not in one
    }


def ask_pypi(name: str, version: str) -> list[str] | None:
    """Ask PyPI about one release; None where it gives no answer."""
    try:
        with urllib.request.urlopen(
            URL.format(name=name, version=version), timeout=SECONDS
        ) as answer:
            told: Any = json.load(answer)
    except (OSError, ValueError):
        return None
    flaws = told.get("vulnerabilities")
    if not isinstance(flaws, list):
        return None
    return [flaw["id"] for flaw in flaws if not flaw.get("withdrawn")]


def main() -> None:
    """Print one line per package and a verdict."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="Print JSON.")
    given = parser.parse_args()
    packages = installed()
    found: dict[str, list[str] | None] = dict.fromkeys(packages)
    audited = ask_pip_audit(packages)
    if audited is not None:
        found |= {name: audited.get(name) for name in packages}
    else:
        for name, version in packages.items():
            found[name] = ask_pypi(name, version)
            if found[name] is None and not any(flaws is not None for flaws in found.values()):
                break  # the first gets no answer: there is no way out
    checked = {name: flaws for name, flaws in found.items() if flaws is not None}
    flawed = {name: flaws for name, flaws in checked.items() if flaws}
    if given.json:
        print(json.dumps({"versions": packages, "vulnerabilities": found}, indent=1))
    else:
        for name, flaws in flawed.items():
            print(f"{name} {packages[name]}: {', '.join(flaws)}")
        unchecked = sorted(set(packages) - set(checked))
        if unchecked:
            print(f"not checked: {', '.join(unchecked)} (no answer from pip-audit or PyPI)")
        if checked:
            print(f"{len(checked)} of {len(packages)} checked, {len(flawed)} with known flaws")
        else:
            print("not checked: nothing is known about any dependency")
    sys.exit(int(bool(flawed)))


if __name__ == "__main__":
    main()

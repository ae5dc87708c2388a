"""Ask whether known vulnerabilities concern the installed dependencies.

Asks `pip-audit` (`pip install pip-audit`), which asks the package registry. What it is not there
for, or gets no answer about, is "not checked", never "nothing found".

Exit code 1 where something is known; 0 where nothing is known or nothing could be checked.

Examples
--------
python scripts/checks/check_dependencies.py
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 300
"""That pip-audit may take."""


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
            command, input=wanted, capture_output=True, text=True, check=False, timeout=SECONDS
        )
        told = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return {
        one["name"]: [flaw["id"] for flaw in one.get("vulns", [])]
        for one in told["dependencies"]
        if "skip_reason" not in one
    }


def main() -> None:
    """Print one line per package and a verdict."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="Print JSON.")
    given = parser.parse_args()
    packages = installed()
    audited = ask_pip_audit(packages) or {}
    found = {name: audited.get(name) for name in packages}
    checked = {name: flaws for name, flaws in found.items() if flaws is not None}
    flawed = {name: flaws for name, flaws in checked.items() if flaws}
    if given.json:
        print(json.dumps({"versions": packages, "vulnerabilities": found}, indent=1))
    else:
        for name, flaws in flawed.items():
            print(f"{name} {packages[name]}: {', '.join(flaws)}")
        unchecked = sorted(set(packages) - set(checked))
        if unchecked:
            print(
                f"not checked: {', '.join(unchecked)} (pip-audit is not there, or gets no answer)"
            )
        if checked:
            print(f"{len(checked)} of {len(packages)} checked, {len(flawed)} with known flaws")
        else:
            print("not checked: nothing is known about any dependency")
    sys.exit(int(bool(flawed)))


if __name__ == "__main__":
    main()

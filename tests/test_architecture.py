"""The house is built as CONTRIBUTING.md draws it."""

import ast
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import house
import pytest

import conceptaudit

PACKAGE = Path(conceptaudit.__file__).parent

# What each room may import when its modules are loaded. Imports inside functions may also go
# where `LATE` says: heavy or upward needs that exist only at run time.
ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "plugins": {"errors"},
    "options": {"errors"},
    "display": set(),
    "records": {"errors"},
    "names": set(),
    "progress": set(),
    "counts": {"errors", "records"},
    "store": {"errors"},
    "artifacts": {"store"},
    "tagtable": {"errors", "records", "artifacts"},
    "vocabulary": {"errors", "reading", "records", "store", "text"},
    "datasets": {"errors", "records", "artifacts", "plugins"},
    "engine": {"errors", "records", "artifacts", "progress", "datasets", "process"},
    "text": {
        "errors", "records", "artifacts", "datasets", "engine", "tagtable", "process", "progress",
    },
    "image": {
        "errors", "records", "artifacts", "reading", "progress", "datasets", "engine",
        "tagtable", "text",
    },
    "frequency": {
        "names", "errors", "records", "artifacts", "reading", "datasets", "progress",
    },
    "zeroshot": {
        "errors", "records", "artifacts", "reading", "progress", "image", "datasets", "engine",
        "frequency", "tagtable", "text", "vocabulary",
    },
    "curves": {
        "names", "counts", "errors", "records", "progress", "store", "frequency",
        "plugins",
    },
    "auditing": {
        "names", "plugins", "tagtable", "errors", "records", "artifacts", "reading",
        "progress",
        "datasets",
        "engine", "text", "image", "frequency", "vocabulary",
    },
    "noun_vocabulary": {
        "errors", "records", "artifacts", "progress", "datasets", "engine", "tagtable", "text",
        "vocabulary",
    },
    "longtail": {
        "counts", "errors", "records", "artifacts", "reading", "progress", "datasets",
        "engine", "text", "image", "frequency", "vocabulary",
    },
    "curate": {
        "names", "counts", "errors", "records", "artifacts", "reading", "progress", "datasets",
        "engine", "tagtable", "image", "frequency", "curves", "auditing",
    },
    "lab": {"errors", "records", "artifacts", "progress", "reading", "engine"},
    "report": {
        "counts", "errors", "records", "artifacts", "reading", "progress", "datasets", "image",
        "curves", "frequency", "zeroshot", "longtail", "lab",
    },
    "explore": {
        "counts", "errors", "records", "artifacts", "reading", "progress", "datasets", "image",
        "curves", "frequency", "longtail", "text", "report",
    },
    "demo": {
        "errors", "records", "artifacts", "progress", "image", "auditing", "zeroshot", "curves",
        "longtail", "lab", "report", "validation",
    },
    "validation": {"errors", "artifacts", "reading"},
    "reading": {"errors", "artifacts"},
    "runstatus": {"errors", "artifacts", "engine"},
    "publication": {"errors", "artifacts", "reading"},
    "runlog": {"errors", "artifacts", "progress"},
    "process": set(),
    "cli": {"errors", "progress", "process"},
    "__main__": {"cli", "process"},
}  # fmt: skip
LATE = {
    "options": {"engine", "store"},
    "curves": {"text"},
    "image": {"lab"},
    "report": {"auditing"},
    "explore": {"auditing", "zeroshot"},
    "demo": {"engine"},
    "cli": set(ROOMS) - {"cli"},
}


def imports(path: Path) -> list[tuple[str, bool]]:
    """Names of the package's rooms that a module imports, and whether inside a function."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = {id(node) for node in tree.body}
    checking = [
        n for n in tree.body if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.dump(n.test)
    ]
    for_types = {id(n) for block in checking for n in ast.walk(block)}
    found = []
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "conceptaudit":
                names = [f"conceptaudit.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "conceptaudit" and len(parts) > 1:
                found.append((parts[1], id(node) not in top))
    return found


def rooms_and_modules() -> list[tuple[str, Path]]:
    modules = []
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        if relative.name != "__init__.py" or len(relative.parts) > 1:
            modules.append((relative.parts[0].removesuffix(".py"), path))
    return modules


@pytest.mark.parametrize(
    ("room", "path"),
    [pytest.param(r, p, id=str(p.relative_to(PACKAGE))) for r, p in rooms_and_modules()],
)
def test_imports_flow_one_way(room: str, path: Path) -> None:
    assert room in ROOMS, f"{room} is not on the map"
    for imported, late in imports(path):
        allowed = ROOMS[room] | {room} | (LATE.get(room, set()) if late else set())
        if "artifacts" in allowed:  # which hands on what is in the store
            allowed = allowed | {"store"}
        if room not in ("errors", "options"):  # defaults stand where the options are
            allowed = allowed | {"options"}
        allowed = allowed | {"display"}  # which imports nothing, and writes numbers with nouns
        assert imported in allowed, f"{path.name} of {room} imports {imported}"


def test_the_map_has_no_circle() -> None:
    left = dict(ROOMS)
    while left:
        ground = [room for room, needs in left.items() if not needs & set(left)]
        assert ground, f"circle among {sorted(left)}"
        for room in ground:
            del left[room]


def test_no_import_circle_between_modules() -> None:
    """Imports inside functions and for types count, too."""
    assert house.circles(house.import_graph()) == []


def test_curves_know_only_numbers() -> None:
    allowed = {"numpy", "scipy", "pandas", "conceptaudit"} | set(sys.stdlib_module_names)
    for path in sorted((PACKAGE / "curves").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            else:
                continue
            assert {name.split(".")[0] for name in names} <= allowed, path.name


def loaded_after(code: str) -> set[str]:
    script = f"import sys, json\n{code}\nsys.stderr.write(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


HEAVY = {"torch", "spacy", "faiss", "open_clip", "ray", "matplotlib", "scipy", "pandas", "pyarrow"}


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_after("import conceptaudit") & (HEAVY | {"numpy"})


def test_help_loads_nothing_heavy() -> None:
    code = "from conceptaudit.cli.main import main\nassert main(['--help']) == 0"
    assert not loaded_after(code) & (HEAVY | {"numpy"})


def test_every_public_name_loads() -> None:
    assert sorted(conceptaudit.__all__) == sorted(conceptaudit._HOMES)
    for name in conceptaudit.__all__:
        assert getattr(conceptaudit, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = conceptaudit.nothing


def test_nothing_unpickles() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for word in ("import pickle", "allow_pickle=True", "torch.load("):
            assert word not in text, f"{path.relative_to(PACKAGE)} holds {word}"
        calls = [node.func for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
        named = {call.id for call in calls if isinstance(call, ast.Name)}
        assert not named & {"eval", "exec"}, f"{path.relative_to(PACKAGE)} runs text as code"


def test_no_module_outgrows_its_job() -> None:
    long = {
        str(path.relative_to(PACKAGE)): n
        for path in PACKAGE.rglob("*.py")
        if (n := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long


def test_the_oldest_versions_that_are_tested_are_the_oldest_allowed() -> None:
    root = Path(__file__).parent.parent
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bounds = dict(one.split(">=") for one in project["dependencies"] if one.count(">=") == 1)
    lines = (root / ".ci" / "oldest.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert set(pinned) == {"numpy", "pandas", "pyarrow"}
    for name, version in pinned.items():
        assert f"{version}.".startswith(f"{bounds[name]}."), name


def test_nothing_removes_files_but_the_store() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).parts[0] == "store":
            continue
        for word in (".unlink(", "rmtree", "os.remove"):
            assert word not in path.read_text(encoding="utf-8"), f"{path.name} holds {word}"

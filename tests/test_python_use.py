"""The package from Python: tables and lists instead of files, and types to rely on."""

import subprocess
import sys
from importlib import resources
from pathlib import Path

import pandas as pd
import pytest

import conceptaudit as ca
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.options.audit import AuditOptions

CAPTIONS = ["a dog runs", "a cat and a dog", None, "", "a horse"]
COUNTS = {"dog": 2, "cat": 1, "horse": 1}


def counted(run: ca.AuditRun) -> dict[str, int]:
    table = run.table.set_index("concept")
    return {name: int(table.loc[name, "n_text"]) for name in COUNTS}


def test_audit_of_captions_in_memory(tmp_path):
    frame = pd.DataFrame({"text": CAPTIONS, "key": list("abcde")})
    frame.to_csv(tmp_path / "x.csv", index=False)
    sources = {
        "list": CAPTIONS,
        "frame": frame,
        "dataset": ca.open_dataset(tmp_path / "x.csv"),
        "file": tmp_path / "x.csv",
    }
    for name, source in sources.items():
        run = ca.audit(source, list(COUNTS), tmp_path / name)
        assert counted(run) == COUNTS, name
        assert run.account["text"]["n_samples"] == len(CAPTIONS), name
    again = ca.audit(list(CAPTIONS), list(COUNTS), tmp_path / "list")
    assert counted(again) == COUNTS
    assert ca.validate(tmp_path / "list") is not None


def test_captions_that_are_none():
    with pytest.raises(ConfigError, match="at least one caption"):
        ca.audit([], ["dog"], "nowhere")
    with pytest.raises(ConfigError, match="column such as caption or text"):
        ca.audit(pd.DataFrame({"a": [1]}), ["dog"], "nowhere")


@pytest.mark.parametrize(
    "options",
    [{"languages": ("en",)}, {"language_column": "lang"}, {"url_column": "u"}, {"key_column": "k"}],
)
def test_options_of_files_are_refused_for_captions_in_memory(tmp_path, options):
    with pytest.raises(ConfigError, match=f"{next(iter(options))!r}.*captions in memory"):
        ca.audit(CAPTIONS, ["dog"], tmp_path / "run", options=AuditOptions(**options))


def test_fit_of_tables():
    names = ["yak", "emu", "cat", "dog", "cow"]
    counts = pd.DataFrame({"concept": names, "n_text": [9, 99, 999, 9_999, 99_999]})
    scores = pd.DataFrame({"concept": names, "accuracy": [0.1, 0.2, 0.3, 0.4, 0.5]})
    fit = ca.fit_curve(counts, scores).fits[0]
    assert fit.line.slope == pytest.approx(0.1)
    judged = pd.DataFrame({"concept": names, "n_correct": [1, 2, 3, 4, 5], "n_images": 10})
    assert ca.fit_curve(counts, judged).fits[0].usage.n_used == 5
    with pytest.raises(DataError, match="'accuracy', 'acc1'"):
        ca.fit_curve(counts, counts)


def test_a_typed_program_is_checked_against_our_types(tmp_path):
    assert resources.files("conceptaudit").joinpath("py.typed").is_file()
    program = tmp_path / "program.py"
    program.write_text(
        "import conceptaudit as ca\n"
        "import pandas as pd\n\n"
        "def count(captions: list[str | None]) -> pd.DataFrame:\n"
        "    run: ca.AuditRun = ca.audit(captions, ['dog'], 'out')\n"
        "    curve: ca.Curve = ca.fit_curve(run.table, run.table)\n"
        "    print(curve.fits[0].usage.n_used + 1)\n"
        "    ca.audit(3, ['dog'], 'out')  # type: ignore[arg-type]\n"
        "    return run.table\n"
    )
    # where the package lies, so that what the lint has checked is not checked again
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "mypy", "--strict", str(program)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert result.returncode == 0, result.stdout

"""Errors name what the user typed."""

from importlib import import_module

import pytest

from conceptaudit.cli.main import VERBS, _option_names, in_options, main


def verb(name):
    return getattr(import_module(f"conceptaudit.cli.{name}"), name)


@pytest.mark.parametrize(
    ("name", "message", "expected"),
    [
        ("audit", "The 'text_error' parameter must be above 0.", "--text-error must be above 0."),
        ("audit", "The 'location' parameter of open_dataset must be", "DATASET must be"),
        ("audit", "The 'source' parameter of read_concepts must be", "--concepts must be"),
        ("longtail", "The 'per_class' parameter of LongTailOptions must", "--per-class must"),
        ("longtail", "The 'pins' parameter must name", "--pin must name"),
        ("evaluate", "The 'models' parameter must", "--clip must"),
        ("report", "needs 'truth' and the 'dataset' parameter", "needs 'truth' and the --dataset"),
        ("fit", "The 'recall' parameter of nobody", "The 'recall' parameter of nobody"),
    ],
)
def test_parameters_become_options(name, message, expected):
    assert in_options(message, verb(name)) == expected


def test_every_verb_knows_its_options():
    for name in VERBS:
        if name not in ("index", "lab", "cite"):  # groups of verbs, and a verb without options
            assert any(option.startswith("--") for option in _option_names(verb(name)).values())


def test_on_the_command_line(tmp_path, capsys):
    (tmp_path / "captions.csv").write_text("caption\na dog\n")
    (tmp_path / "concepts.txt").write_text("dog\n")
    files = [str(tmp_path / "captions.csv"), "-c", str(tmp_path / "concepts.txt")]
    out = ["-o", str(tmp_path / "run")]
    assert main(["audit", *files, *out, "--level", "2"]) == 2
    assert "error: --level must" in capsys.readouterr().err
    assert main(["audit", str(tmp_path / "none"), *files[1:], *out]) == 2
    assert "parameter" not in capsys.readouterr().err

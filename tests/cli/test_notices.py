"""What other packages warn of is shown once, with its origin: terminal, log and JSON."""

import json
import logging
import warnings

import open_clip
import pytest

from conceptaudit.cli.main import main
from conceptaudit.cli.notices import HARMLESS, NOTICES, gathered_warnings


@pytest.fixture
def images(tmp_path):
    from PIL import Image

    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (70, 70), "red").save(folder / f"{name}.png")
    return folder


@pytest.fixture
def warning_model(monkeypatch):
    """open_clip warns twice, logs once, and says what is known to be harmless."""
    create = open_clip.create_model_and_transforms

    def warned(*args, **options):
        for _ in range(2):
            warnings.warn_explicit(
                "odd\n weights", UserWarning, "/x/site-packages/open_clip/f.py", 1
            )
        logging.getLogger("timm.models").warning("odd %s", "model")
        warnings.warn_explicit("old name", DeprecationWarning, "/x/site-packages/timm/f.py", 2)
        logging.getLogger().warning("No pretrained weights loaded for model 'x'.")
        return create(*args, **options)

    monkeypatch.setattr(open_clip, "create_model_and_transforms", warned)
    monkeypatch.setattr("conceptaudit.image.clip._models", {})


def test_warnings_are_shown_logged_and_in_json(images, warning_model, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert main(["embed", str(images), "--clip", "lab", "-o", str(out), "--json"]) == 0
    printed = capsys.readouterr()
    expected = ["open_clip warns: odd weights", "timm warns: odd model"]
    assert json.loads(printed.out)["warnings"] == expected
    for text in expected:
        assert printed.err.count(f"note: {text}") == 1
    assert "No pretrained weights" not in printed.err
    events = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [e["message"] for e in events if e["event"] == "warning"] == expected


def test_debug_shows_what_is_known_to_be_harmless(images, warning_model, tmp_path, capsys) -> None:
    main(["--debug", "embed", str(images), "--clip", "lab", "-o", str(tmp_path / "out")])
    error = capsys.readouterr().err
    assert "No pretrained weights" in error
    assert "f.py:1" in error


def test_nothing_is_kept_from_one_verb_to_the_next() -> None:
    shown: list[str] = []
    for _ in range(2):
        with gathered_warnings(shown.append):
            warnings.warn("something", UserWarning, stacklevel=1)
    assert len(shown) == 2
    assert all(reason for _, reason in HARMLESS)
    assert len(NOTICES.texts) == 1

"""Pools in other layouts, the command line, a real model, real photographs."""

import io
import json
import tarfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from conceptaudit.errors import ArtifactMismatchError, DataError
from conceptaudit.longtail import LongTailOptions, build_long_tail
from conceptaudit.longtail.contact_sheet import ContactSheet
from conceptaudit.longtail.set_storage import building, work_folder

OPTIONS = LongTailOptions(k=3, per_class=5, oversample=4)


def write_tars(folder, files, per_tar=10):
    folder.mkdir()
    names = sorted(files)
    for start in range(0, len(names), per_tar):
        with tarfile.open(folder / f"{start // per_tar:05d}.tar", "w") as tar:
            for name in names[start : start + per_tar]:
                for member, data in ((name, files[name]), (f"{name[:-4]}.txt", b"a thing")):
                    info = tarfile.TarInfo(member)
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return folder


def test_tars_and_parquet_give_the_same_images_as_a_folder(
    tmp_path, run, encoder, make_pool, plain_files
):
    folder = build_long_tail(
        run, make_pool(plain_files), tmp_path / "a", options=OPTIONS, clip=encoder
    )
    tars = build_long_tail(
        run,
        write_tars(tmp_path / "tars", plain_files),
        tmp_path / "b",
        options=OPTIONS,
        clip=encoder,
    )
    table = pd.DataFrame(
        {
            "key": [name[:-4] for name in plain_files],
            "caption": ["a thing"] * len(plain_files),
            "jpg": list(plain_files.values()),
            "status": "success",
        }
    )
    table.to_parquet(tmp_path / "00000.parquet")
    parquet = build_long_tail(
        run, tmp_path / "00000.parquet", tmp_path / "c", options=OPTIONS, clip=encoder
    )
    columns = ["file", "concept", "key", "score", "rank", "phash", "sha256"]
    assert tars.images[columns].equals(folder.images[columns])
    assert parquet.images[columns].equals(folder.images[columns])
    assert tars.images["source"].str.match(r"0000\d\.tar#\d").all()
    assert set(parquet.images["caption"]) == {"a thing"}


def test_keys_that_point_elsewhere_stay_inside(tmp_path, run, encoder, plain_files):
    rows = [(f"../../../{name}", data) for name, data in plain_files.items()]
    table = pd.DataFrame(rows, columns=["key", "image"]).assign(caption="=HYPERLINK(1)")
    table.to_parquet(tmp_path / "pool.parquet")
    out = tmp_path / "x" / "y" / "out"
    made = build_long_tail(run, tmp_path / "pool.parquet", out, options=OPTIONS, clip=encoder)
    written = [path for path in tmp_path.rglob("*.png") if path.name != "contact_sheet.png"]
    assert len(written) == 15
    assert all(path.is_relative_to(out / "images") for path in written)
    assert set(made.images["caption"]) == {"'=HYPERLINK(1)"}
    assert made.images["key"].str.startswith("../../../").all()


def test_contact_sheet_has_pages_and_no_control_characters(tmp_path, tools):
    sheet = ContactSheet([f"cl\x1bass\u202e {i}" for i in range(70)], shown=2)
    sheet.add(0, 1, tools.encoded(tools.picture("red", 1)))
    sheet.add(0, 3, b"not looked at")
    paths = sheet.save(tmp_path)
    assert [path.name for path in paths] == ["contact_sheet.png", "contact_sheet_2.png"]
    with Image.open(paths[0]) as page:
        pixels = np.asarray(page.convert("RGB"), dtype=int)
    assert ((pixels[..., 0] - pixels[..., 1]) > 80).any()  # the red picture is there


def test_command_line(run, encoder, plain_pool, monkeypatch, capsys):
    typer = pytest.importorskip("typer")
    cli = pytest.importorskip("conceptaudit.cli.longtail", reason="cli.console is missing")
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(cli.longtail)
    monkeypatch.setattr("conceptaudit.longtail.embedding.find_clip", lambda name, device: encoder)
    words = [str(run), "--images", str(plain_pool), "-o", str(run.parent / "out"), "--k", "3"]
    app([*words, "--per-class", "4", "--pin", "red", "--exclude", "blue"], standalone_mode=False)
    told = capsys.readouterr().out
    assert "violet" in told
    assert "surplus" in told
    app([*words[:-1], "2", "--json", "--overwrite"], standalone_mode=False)
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["n_classes"] == 2
    assert numbers["n_images"] == sum(one["n_images"] for one in numbers["classes"])
    app(["--help"], standalone_mode=False)
    helped = capsys.readouterr().out
    assert "Example" in helped
    assert "--min-margin" in helped


def test_lab_model_finds_its_own_scenes_of_photographs(tmp_path, realdata, tools):
    bundled = pytest.importorskip("conceptaudit.lab.bundled", reason="the lab model is missing")
    if not bundled.lab_clip_path().is_dir():
        pytest.skip("the weights of the bundled lab model are missing")
    run = tools.write_audit(
        tmp_path / "run", {"star": 2, "circle": 3, "square": 9}, sides=("text",), clip=None
    )
    pool = realdata / "photos" / "coco-mini" / "train2017"
    options = LongTailOptions(k=2, per_class=3, clip="lab", embedding_similarity=2.0)
    made = build_long_tail(run, pool, tmp_path / "out", options=options)
    assert len(made.images) == 6
    assert made.manifest["clip_name"] == "lab"


def test_damaged_pool_file_stops_the_work_unless_skipping_is_allowed(
    tmp_path, run, encoder, plain_files
):
    pool = write_tars(tmp_path / "tars", plain_files)
    damaged = pool / "00001.tar"
    damaged.write_bytes(damaged.read_bytes()[:700] + b"\xff" * 900)
    with pytest.raises(DataError, match=r"00001\.tar"):
        build_long_tail(run, pool, tmp_path / "a", options=OPTIONS, clip=encoder)
    assert not (tmp_path / "a").exists()
    options = replace(OPTIONS, skip_unreadable=True)
    made = build_long_tail(run, pool, tmp_path / "b", options=options, clip=encoder)
    lost = made.removed[made.removed["reason"] == "unreadable_file"]
    assert lost["source"].tolist() == ["00001.tar"]
    account = made.manifest["account"]
    assert account["n_unreadable_files"] == 1
    assert account["n_samples"] == account["n_compared"] + sum(account["unusable"].values())
    assert not set(made.images["source"].str[:9]) - {"00000.tar", "00002.tar"}


def test_killed_replacement_is_repaired(tmp_path):
    out = tmp_path / "out"
    work = work_folder(out, ())
    site = work.path
    with work.hold(resume=True):  # killed between the two renames
        (site / "old").mkdir()
        (site / "old" / "manifest.json").write_text("{}")

    def fail():
        with building(out, ()):
            assert (out / "manifest.json").exists()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (out / "manifest.json").read_text() == "{}"
    assert not site.exists()


def test_two_builders_of_one_set_do_not_meet(tmp_path):
    out = tmp_path / "out"
    with building(out, ()) as (site, _):
        (site / "manifest.json").write_text("{}")
        with (
            pytest.raises(ArtifactMismatchError, match="Another run is writing"),
            building(out, ()),
        ):
            pass
        assert site.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in out.iterdir()] == ["manifest.json"]

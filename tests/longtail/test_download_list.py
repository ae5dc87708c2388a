"""A table of captions and URLs becomes img2dataset's input; nothing is fetched."""

import json
import shlex
from dataclasses import replace

import pandas as pd
import pytest
import typer

from conceptaudit.cli import longtail as cli
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.longtail import LongTailOptions, build_long_tail
from conceptaudit.longtail.download_list import write_download_list

OPTIONS = LongTailOptions(k=2, per_class=4, oversample=2)


@pytest.fixture
def table(tmp_path):
    """LAION-style metadata: 30 rows name a teapot, 5 a heron, 2 of them both."""
    captions = ["a teapot and a cup"] * 28 + ["a teapot beside a heron"] * 2 + ["the heron"] * 3
    captions += ["a dog", None, "a teapot", "a heron", "teapot"]
    n = len(captions)
    rows = pd.DataFrame(
        {
            "uid": [f"u{i:02d}" for i in range(n)],
            "URL": [f"https://a.example/{i}.jpg" for i in range(n)],
            "TEXT": captions,
            "punsafe": [0.0] * n,
            "LICENSE": "CC0",
        }
    )
    rows.loc[35, "URL"] = "file:///etc/passwd"
    rows.loc[36, "punsafe"] = 0.99
    rows.loc[37, "URL"] = rows.loc[0, "URL"]
    path = tmp_path / "meta.parquet"
    rows.to_parquet(path)
    return path


@pytest.fixture
def rare(tmp_path, tools):
    return tools.write_audit(
        tmp_path / "rare", {"teapot": 5, "heron": 2, "dog": 99}, sides=("text",), clip=None
    )


def test_a_seeded_draw_of_each_concept_is_listed(tmp_path, rare, table):
    path = tmp_path / "list.parquet"
    listed = write_download_list(rare, table, path, options=OPTIONS)
    rows = pd.read_parquet(path)
    assert rows.columns.tolist() == ["url", "caption", "key", "concept", "license"]
    assert rows["url"].is_unique
    assert listed.n_by_concept == {"heron": 5, "teapot": 8}
    assert listed.n_images == len(rows)
    named = rows["concept"].str.split("|").explode()
    assert named.value_counts().to_dict() == listed.n_by_concept
    for _, row in rows.iterrows():
        assert row["url"] == f"https://a.example/{int(row['key'][1:])}.jpg"
        assert all(name in row["caption"] for name in row["concept"].split("|"))
    assert rows["key"].is_monotonic_increasing
    assert listed.account == {
        "n_samples": 38,
        "names_no_selected_concept": 1,
        "no_caption": 1,
        "no_http_url": 1,
        "unsafe": 1,
    }
    again = tmp_path / "again.parquet"
    write_download_list(rare, table, again, options=OPTIONS, workers=2)
    assert again.read_bytes() == path.read_bytes()
    other = write_download_list(
        rare, table, tmp_path / "other.csv", options=replace(OPTIONS, seed=1)
    )
    assert other.n_by_concept == listed.n_by_concept
    assert set(pd.read_csv(other.path)["url"]) != set(rows["url"])


def test_what_cannot_be_listed_is_refused(tmp_path, rare, table, encoder):
    with pytest.raises(ConfigError, match=r"\.csv or \.parquet"):
        write_download_list(rare, table, tmp_path / "list.txt", options=OPTIONS)
    rows = pd.read_parquet(table)
    rows.drop(columns="URL").to_parquet(tmp_path / "bare.parquet")
    with pytest.raises(DataError, match=r"no column of http\(s\) URLs"):
        write_download_list(rare, tmp_path / "bare.parquet", tmp_path / "l.csv", options=OPTIONS)
    rows.assign(TEXT="a cat").to_parquet(tmp_path / "cats.parquet")
    with pytest.raises(DataError, match="No caption"):
        write_download_list(rare, tmp_path / "cats.parquet", tmp_path / "l.csv", options=OPTIONS)
    assert not (tmp_path / "l.csv").exists()
    with pytest.raises(ConfigError, match="--download-list"):
        build_long_tail(rare, table, tmp_path / "out", clip=encoder)


def test_the_command_line_says_what_to_do_next(tmp_path, rare, table, capsys):
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(cli.longtail)
    out, path = tmp_path / "my set", tmp_path / "list.csv"
    words = [str(rare), "--images", str(table), "-o", str(out), "--k", "2", "--per-class", "2"]
    app([*words, "--download-list", str(path), "--workers", "1"], standalone_mode=False)
    told = capsys.readouterr().out
    assert "Download these with img2dataset, then run longtail on the result" in told
    [command] = [line for line in told.splitlines() if line.strip().startswith("img2dataset")]
    parsed = shlex.split(command)
    assert parsed[parsed.index("--url_list") + 1] == str(path)
    assert parsed[parsed.index("--input_format") + 1] == "csv"
    assert json.loads(parsed[parsed.index("--save_additional_columns") + 1]) == [
        "concept",
        "license",
    ]
    assert f"--images '{out}-images' -o '{out}' --require-text" in told
    assert not out.exists()
    app([*words, "--download-list", str(path), "--workers", "1", "--json"], standalone_mode=False)
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["n_images"] == len(pd.read_csv(path))
    assert numbers["concepts"]["heron"] == 5

"""What columns say, by concept: equal to pandas, whatever the shards."""

from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest

from conceptaudit.auditing import audit
from conceptaudit.errors import ConfigError
from conceptaudit.frequency.by_column import host_of
from conceptaudit.options.audit import AuditOptions

NAMES = ["dog", "cat", "horse"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    rng = np.random.default_rng(0)
    n = 300
    texts = rng.choice(["a dog", "a cat and a dog", "a horse", "nothing"], n)
    rows = pd.DataFrame(
        {
            "URL": [f"https://h{int(i)}.org/{k}" for k, i in enumerate(rng.zipf(1.8, n) % 50)],
            "TEXT": texts,
            "similarity": np.where(rng.random(n) < 0.1, np.nan, rng.uniform(0.2, 0.4, n)),
            "punsafe": rng.random(n).astype("float32"),
            "NSFW": rng.choice(["UNLIKELY", "NSFW", None], n),
            "LICENSE": rng.choice(["cc-by", "?"], n),
            "LANGUAGE": rng.choice(["en", "de"], n),
            "WIDTH": rng.integers(100, 900, n),
            "stars": rng.integers(0, 6, n),
        }
    )
    folder = tmp_path_factory.mktemp("table")
    rows.iloc[:180].to_parquet(folder / "0.parquet", index=False)
    rows.iloc[180:].to_parquet(folder / "1.parquet", index=False)
    return folder, rows


def run(folder, out, *columns, shard_rows=20_000):
    options = AuditOptions(columns=columns, shard_rows=shard_rows, workers=1, text_mode="exact")
    audit(folder, NAMES, out, options=options)
    summary = pd.read_csv(out / "columns.csv", keep_default_na=False, na_values=[""])
    summary["concept"] = summary["concept"].fillna("")
    values = pd.read_parquet(out / "columns_values.parquet")
    return summary.set_index(["concept", "column"]), values


def test_columns_equal_pandas(table, tmp_path):
    folder, rows = table
    summary, values = run(folder, tmp_path / "run", "auto", "stars")
    for concept in ["", *NAMES]:
        part = rows[rows["TEXT"].str.contains(concept)]
        similarity = summary.loc[(concept, "similarity")]
        assert similarity["n"] == part["similarity"].count()
        assert similarity["mean"] == pytest.approx(part["similarity"].mean(), abs=1e-6)
        known = part["similarity"].dropna()
        assert similarity["share_beyond"] == pytest.approx((known >= 0.28).mean())
        unsafe = summary.loc[(concept, "unsafe")]
        assert unsafe["share_beyond"] == pytest.approx((part["punsafe"] >= 0.5).mean())
        assert summary.loc[(concept, "width"), "mean"] == pytest.approx(part["WIDTH"].mean())
        assert summary.loc[(concept, "stars"), "mean"] == pytest.approx(part["stars"].mean())
        for column, name in (("LICENSE", "license"), ("NSFW", "nsfw"), ("LANGUAGE", "language")):
            expected = part[column].str.lower() if name == "language" else part[column]
            counts = values[(values["concept"] == concept) & (values["column"] == name)]
            assert counts.set_index("value")["n"].to_dict() == expected.value_counts().to_dict()
        hosts = part["URL"].map(lambda url: urlsplit(url).hostname).value_counts()
        row = summary.loc[(concept, "host")]
        assert (row["n_values"], row["n"]) == (len(hosts), hosts.sum())
        assert row["share_top"] == pytest.approx(hosts.max() / hosts.sum())


def test_shards_merge_exactly(table, tmp_path):
    folder, _ = table
    run(folder, tmp_path / "one", "auto")
    run(folder, tmp_path / "many", "auto", shard_rows=37)
    for name in ("columns.csv", "columns_values.parquet"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "many" / name).read_bytes()


def test_status_of_what_was_not_downloaded(tmp_path):
    rows = pd.DataFrame(
        {
            "key": [str(i) for i in range(6)],
            "caption": ["a dog"] * 6,
            "status": ["success"] * 4 + ["failed_to_download", "failed_to_resize"],
            "error_message": None,
            "url": "https://a.org/1.jpg",
        }
    )
    rows.to_parquet(tmp_path / "t.parquet", index=False)
    _, values = run(tmp_path / "t.parquet", tmp_path / "run", "auto")
    status = values[(values["column"] == "status") & (values["concept"] == "")]
    assert status.set_index("value")["n"].to_dict() == {
        "ok": 4, "status_failed_to_download": 1, "status_failed_to_resize": 1,
    }  # fmt: skip


def test_a_column_that_is_not_there_is_refused(table, tmp_path):
    with pytest.raises(ConfigError, match="'nothing', which"):
        run(table[0], tmp_path / "run", "nothing")


@pytest.mark.parametrize("url", ["", None, "a.jpg", "data:image/png;base64,x", "//h.org/a", 7])
def test_what_is_no_url_has_no_host(url):
    assert host_of(url) is None


def test_hosts_equal_pandas_on_real_alt_texts(realdata, tmp_path):
    path = realdata / "captions" / "laion_alt_text_10k.parquet"
    summary, values = run(path, tmp_path / "run", "auto")
    urls = pd.read_parquet(path, columns=["URL"])["URL"].dropna()
    hosts = urls.str.extract(r"^[A-Za-z]+://(?:[^/@]*@)?([^/:?#]+)")[0].str.lower().value_counts()
    found = values[(values["column"] == "host") & (values["concept"] == "")]
    assert found.set_index("value")["n"].to_dict() == hosts.to_dict()
    assert summary.loc[("", "host"), "top"] in set(hosts.index[hosts == hosts.max()])

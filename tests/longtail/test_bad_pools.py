"""Pools that are damaged, hostile or too small."""

import io
import tarfile
from dataclasses import replace

import pandas as pd
import pytest

from conceptaudit.errors import ConfigError, DataError
from conceptaudit.longtail import LongTailOptions, build_long_tail

OPTIONS = LongTailOptions(k=3, per_class=5, oversample=4)


def test_tar_members_cannot_lead_out_of_the_set(tmp_path, run, encoder, plain_files, tools):
    outside = tmp_path / "outside.png"
    outside.write_bytes(tools.encoded(tools.picture("green", 700)))
    names = list(plain_files)
    with tarfile.open(tmp_path / "pool.tar", "w") as tar:
        for i, name in enumerate(names):
            prefix = ("../../", f"{tmp_path}/absolute/", "a/../../b/", "")[i % 4]
            info = tarfile.TarInfo(prefix + name)
            info.size = len(plain_files[name])
            tar.addfile(info, io.BytesIO(plain_files[name]))
        for name, kind in (
            ("sym.png", tarfile.SYMTYPE),
            ("hard.png", tarfile.LNKTYPE),
            ("pipe.png", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, str(outside)
            tar.addfile(info)
    out = tmp_path / "deep" / "down" / "out"
    made = build_long_tail(run, tmp_path / "pool.tar", out, options=OPTIONS, clip=encoder)
    reasons = made.removed.set_index("key")["reason"]
    assert set(reasons[["sym", "hard", "pipe"]]) == {"not_a_regular_file"}
    written = {path for path in tmp_path.rglob("*.png") if path != outside}
    assert all(path.is_relative_to(out) for path in written)
    assert len(made.images) == 15
    assert made.images["key"].str.contains("..", regex=False).any()
    assert not (tmp_path / "absolute").exists()


def test_a_pool_without_a_usable_image_is_refused(tmp_path, run, encoder, make_pool):
    pool = make_pool({"a.jpg": b"no picture", "b.png": b"neither"})
    with pytest.raises(DataError, match=r"no image that can be used: 2 samples read \(2 not_an"):
        build_long_tail(run, pool, tmp_path / "out", options=OPTIONS, clip=encoder)
    assert not (tmp_path / "out").exists()
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ConfigError, match="which is empty"):
        build_long_tail(run, empty, tmp_path / "out", options=OPTIONS, clip=encoder)


def test_columns_that_say_nothing_change_nothing(tmp_path, run, encoder, plain_files):
    names = list(plain_files)
    table = pd.DataFrame({"key": names, "jpg": list(plain_files.values())})
    table.to_parquet(tmp_path / "plain.parquet")
    odd = ["", "unknown", None, "nan", "-1"]
    table = table.assign(
        punsafe=[odd[i % 5] for i in range(len(names))], NSFW=None, pwatermark=float("nan")
    )
    table.to_parquet(tmp_path / "odd.parquet")
    plain = build_long_tail(
        run, tmp_path / "plain.parquet", tmp_path / "a", options=OPTIONS, clip=encoder
    )
    made = build_long_tail(
        run, tmp_path / "odd.parquet", tmp_path / "b", options=OPTIONS, clip=encoder
    )
    columns = ["file", "key", "score", "license"]
    assert made.images[columns].equals(plain.images[columns])


def test_limits_must_make_sense():
    with pytest.raises(ConfigError, match="'max_unsafe' parameter"):
        replace(OPTIONS, max_unsafe=-0.1)
    with pytest.raises(ConfigError, match="'rank' parameter"):
        replace(OPTIONS, rank="colour")

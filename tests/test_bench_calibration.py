"""The benchmark of calibrations, on data small enough to check by eye."""

import importlib

import numpy as np
import pytest


def test_every_way_is_measured() -> None:
    bench = importlib.import_module("bench_calibration")
    rng = np.random.default_rng(0)
    n, n_concepts, dimension = 700, 12, 20
    concepts = np.linalg.qr(rng.standard_normal((dimension, dimension)))[0][:n_concepts]
    shown = rng.random((n, n_concepts)) < 0.3 * np.arange(1, n_concepts + 1) ** -0.8
    named = shown & (rng.random(shown.shape) < 0.7)
    images = shown @ concepts + 0.2 * rng.standard_normal((n, dimension))
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    data = bench.Data(
        name="small",
        images=images.astype(np.float32),
        concepts=concepts.astype(np.float32),
        named=named,
        shown=shown,
        fixed=0.23,
        least=20,
    )
    rows = {way.name: bench.measured(data, way) for way in bench.ways(data)}
    corrected = rows["calibrated, captions: corrected counts"]
    assert rows["captions alone"]["count error"] == pytest.approx(1 / 0.7 - 1, abs=0.1)
    assert corrected["count error"] < 0.1
    assert corrected["coverage"] > 0.8
    assert corrected["joint error"] < 0.1
    tags = rows["calibrated, captions: tags"]
    assert tags["F1"] > rows["one threshold, 0.23"]["F1"]
    assert all("count error" in row for row in rows.values())
    assert len(rows) == 13

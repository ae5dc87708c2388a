"""Vectors are checked before anything is computed with them."""

from pathlib import Path

import numpy as np
import pytest

from conceptaudit.errors import DataError
from conceptaudit.image.vectors import read_concept_vectors, unit_rows


def test_rows_have_length_one_and_zero_stays_zero() -> None:
    rows = unit_rows(np.array([[3, 4], [0, 0], [1e-30, 0]], dtype=np.float32))
    assert rows.tolist() == [[np.float32(0.6), np.float32(0.8)], [0, 0], [1, 0]]


def test_published_text_vectors_are_scaled(realdata: Path) -> None:
    path = realdata / "clip/detic_text_embeddings/coco_clip_a+cname.npy"
    lengths = np.linalg.norm(read_concept_vectors(path, 80), axis=1)
    np.testing.assert_allclose(lengths, 1.0, atol=1e-6)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((2, 4), np.float32), "2 vectors for 3 concepts"),
        (np.ones(3, np.float32), "shape"),
        (np.ones((3, 2), np.int64), "float array"),
        (np.array([[1, 1], [np.nan, 1], [1, 1]]), "Row 1 .* not finite"),
        (np.array([[1, 1], [1, 1], [np.inf, 1]]), "Row 2 .* not finite"),
        (np.array([[1.0, 1], [0, 0], [1, 1]]), "Row 1 .* length zero"),
    ],
)
def test_unusable_vectors(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "v.npy", array)
    with pytest.raises(DataError, match=message):
        read_concept_vectors(tmp_path / "v.npy", 3)


def test_objects_truncation_and_absence(tmp_path: Path) -> None:
    path = tmp_path / "v.npy"
    with pytest.raises(DataError, match="Cannot read"):
        read_concept_vectors(path, 3)
    np.save(path, np.array([{}, {}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="Cannot read"):
        read_concept_vectors(path, 3)
    np.save(path, np.ones((3, 4), np.float32))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError, match="Cannot read"):
        read_concept_vectors(path, 3)

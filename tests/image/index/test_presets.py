"""Presets are whole, honest about memory, shipped, and chosen by rule."""

import tomllib
from pathlib import Path

import pytest

from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.index.presets import (
    FIXED_BYTES,
    choose_preset,
    preset_folder,
    read_preset,
    read_presets,
)

ROOT = Path(__file__).parents[3]
GB = 10**9


def chosen(n: int, memory: float, *, gpu: bool = False, name: str = "auto") -> str:
    return choose_preset(name, n=n, dimension=512, memory=int(memory * GB), gpu=gpu).name


@pytest.mark.parametrize(
    ("n", "memory", "preset"),
    [
        (1, 6, "flat"),
        (20_000, 6, "flat"),
        (50_000, 6, "hnsw"),
        (100_001, 6, "ivf-flat"),
        (1_000_000, 6, "ivf-flat"),
        (5_000_000, 10, "ivf-sq8"),
        (400_000_000, 80, "ivf-pq"),
    ],
)
def test_automatic_choice(n: int, memory: float, preset: str) -> None:
    assert chosen(n, memory) == preset


def test_a_gpu_is_used_where_there_is_one() -> None:
    assert chosen(1_000_000, 6, gpu=True) == "ivf-flat"
    assert chosen(400_000_000, 80, gpu=True) == "gpu-ivf-pq"
    with pytest.raises(ConfigError, match=r"conceptaudit\[gpu\]"):
        chosen(1_000_000, 6, name="gpu-ivf-pq")


def test_what_does_not_fit_says_what_would() -> None:
    with pytest.raises(ConfigError, match=r"'flat' needs .* GB .* It fits: ivf-pq \(.* GB\)"):
        chosen(30_000_000, 12, name="flat")
    with pytest.raises(ConfigError, match=r"The smallest, ivf-pq, needs .*--memory"):
        chosen(400_000_000, 3)
    with pytest.raises(ConfigError, match="must be 'auto' or one of"):
        chosen(10, 6, name="annoy")


def test_every_preset_is_whole_and_in_the_wheel() -> None:
    files = sorted(path.name for path in preset_folder().glob("*.toml"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shipped = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert files == sorted(Path(source).name for source in shipped)
    assert shipped == {f"indexes/{name}": f"conceptaudit/indexes/{name}" for name in files}
    readme = (ROOT / "indexes/README.md").read_text(encoding="utf-8")
    for preset in read_presets().values():
        assert f"| `{preset.name}` |" in readme
        assert preset.reason.strip()
        assert preset.when
        assert preset.bytes_per_dimension * 512 + preset.bytes_per_vector < 2400


@pytest.mark.parametrize("n", [1, 39, 40, 1000, 10**6, 10**9])
def test_lists_have_enough_to_train(n: int) -> None:
    for preset in read_presets().values():
        assert 1 <= preset.lists(n) <= max(n / 40, 1)
        assert preset.training_size(n) == 0 or preset.training_size(n) >= 40 * preset.lists(n)


def test_memory_grows_with_vectors_and_is_never_free() -> None:
    for preset in read_presets().values():
        sizes = [preset.peak_bytes(n, 512) for n in (10**3, 10**5, 10**7)]
        assert FIXED_BYTES <= sizes[0] <= sizes[1] < sizes[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("recall = 1.0", "recall = 1.5"), r"\(0, 1\]"),
        (("order = 10", 'order = "ten"'), "wrong type"),
        (("order = 10", "rank = 10"), "must have the fields"),
        (("values = []", "values = [8, 4]"), "rising"),
        (("order = 10", "order ="), "Cannot read"),
    ],
)
def test_damaged_presets(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    text = (preset_folder() / "flat.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(text.replace(*change))
    with pytest.raises(DataError, match=message):
        read_preset(tmp_path / "mine.toml")


@pytest.mark.parametrize(
    ("dimension", "m"), [(512, 64), (640, 64), (768, 96), (1024, 64), (1280, 64), (384, 48)]
)
def test_a_gpu_has_kernels_for_the_codes_of_every_models_dimension(dimension: int, m: int) -> None:
    """FAISS: code lengths up to 96, float16 tables of 256 entries in 48 KiB, listed dimensions."""
    factory = read_presets()["gpu-ivf-pq"].factory_string(10**6, dimension)
    assert factory.endswith(f",PQ{m}x8")
    assert m * 256 * 2 <= 48 << 10
    import faiss

    index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    assert m == index.pq.M


def test_a_dimension_that_no_gpu_kernel_takes() -> None:
    with pytest.raises(ConfigError, match="Use ivf-pq"):
        read_presets()["gpu-ivf-pq"].factory_string(10**6, 9973)
    assert read_presets()["ivf-pq"].factory_string(10**6, 9973).endswith("PQ1x8")

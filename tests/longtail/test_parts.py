"""The parts: hashes, duplicates, top lists, names."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from conceptaudit.image.thumbnails import Thumbnails
from conceptaudit.longtail.candidates import TEXTS, TopKSearch, remaining
from conceptaudit.longtail.clean import Cleaning, assign_classes, runners_up
from conceptaudit.longtail.duplicates import first_resembling, remove_duplicates, shortened
from conceptaudit.longtail.fingerprints import (
    SURE_BITS,
    Looks,
    fingerprint_of,
    hamming,
    perceptual_hash,
)
from conceptaudit.longtail.safe_filenames import MAX_NAME, csv_text, folder_names, safe_part
from conceptaudit.options.longtail import LongTailOptions

RESERVED = {"con", "prn", "aux", "nul"} | {f"{p}{i}" for p in ("com", "lpt") for i in range(10)}


def slow_phash(image):
    """The definition, written out: DCT-II by its sum, row-major bits, first bit highest."""
    grey = image.convert("L").resize((32, 32), Image.Resampling.LANCZOS)
    pixels = np.asarray(grey, dtype=np.float64)
    basis = np.array([[np.cos(np.pi * k * (2 * n + 1) / 64) for n in range(32)] for k in range(8)])
    low = 4 * basis @ pixels @ basis.T
    bits = (low > np.median(low)).ravel()
    return int("".join("1" if bit else "0" for bit in bits), 2)


@pytest.mark.parametrize("seed", range(12))
def test_phash_equals_its_definition(tools, seed):
    image = tools.picture("green", seed, size=40 + 13 * seed)
    assert perceptual_hash(image) == slow_phash(image)


def test_phash_of_real_photographs_equals_its_definition(realdata):
    # imagehash 4.3.2 (run once, not a dependency) agrees on all 239 photographs
    golden = {"000000125870": "d5d164725b2a2e59", "000000172123": "e6888c939b656ee4"}
    for name, expected in golden.items():
        path = realdata / "photos" / "coco-mini" / "train2017" / f"{name}.jpg"
        with Image.open(path) as image:
            rgb = image.convert("RGB")
        assert f"{perceptual_hash(rgb):016x}" == expected
        assert perceptual_hash(rgb) == slow_phash(rgb)


def test_flat_pictures_are_near_duplicates_of_each_other():
    hashes = {perceptual_hash(Image.new("RGB", (70, 50), (i, i, i))) for i in (9, 100, 254)}
    assert len(hashes) == 1


def test_hash_is_kept_by_resizing_and_recompressing(tools):
    image = tools.picture("blue", 5, size=200)
    small = np.array([perceptual_hash(image.resize((90, 90)))], dtype=np.uint64)
    assert hamming(np.array([perceptual_hash(image)], dtype=np.uint64), small)[0, 0] <= 4


def test_picture_is_described_by_its_actual_format(tools):
    image = tools.picture("blue", 5)
    extensions = [
        fingerprint_of(tools.encoded(image, kind), image).extension
        for kind in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP")
    ]
    assert extensions == ["png", "jpg", "webp", "tif", "gif", "bmp"]
    assert fingerprint_of(tools.encoded(image), image).pixels != (
        fingerprint_of(tools.encoded(image), image.transpose(Image.Transpose.ROTATE_90)).pixels
    )


@pytest.mark.parametrize(
    ("bits", "thumbnails", "same"),
    [
        (SURE_BITS, "other", True),  # the hash alone is enough
        (SURE_BITS + 2, "equal", True),
        (SURE_BITS + 2, "brighter", True),
        (SURE_BITS + 2, "other", False),
        (SURE_BITS + 2, "unknown", True),  # as published, where there is nothing to look at
        (12, "equal", False),
    ],
)
def test_thumbnails_decide_where_hashes_are_unsure(bits, thumbnails, same):
    rng = np.random.default_rng(3)
    first = rng.integers(0, 200, 192, dtype=np.uint8)
    second = {
        "equal": first,
        "brighter": first + 40,
        "other": rng.integers(0, 200, 192, dtype=np.uint8),
        "unknown": first,
    }[thumbnails]
    both = Looks(
        hashes=np.array([0, (1 << bits) - 1], dtype=np.uint64),
        thumbnails=Thumbnails.of(
            [first.tobytes(), b"" if thumbnails == "unknown" else second.tobytes()]
        ),
    )
    alike, found = both[np.array([0])].alike(both[np.array([1])], 10)
    assert (bool(alike[0, 0]), int(found[0, 0])) == (same, bits)


def test_hamming_counts_bits():
    values = np.array([0, 1, 2**64 - 1, 0xF0F0], dtype=np.uint64)
    expected = [[(int(a) ^ int(b)).bit_count() for b in values] for a in values]
    assert hamming(values, values).tolist() == expected


@given(
    values=st.lists(st.integers(0, 60), max_size=40),
    within=st.integers(0, 4),
    block=st.integers(1, 50),
)
def test_duplicates_do_not_depend_on_the_block_and_leave_none(values, within, block):
    array = np.array(values, dtype=np.int64)

    def near(rows, others):
        return np.abs(array[rows][:, None] - array[others]) <= within

    owner = first_resembling(len(values), near, block=block)
    stay: list[int] = []
    for i, value in enumerate(values):
        first = next((j for j in stay if abs(values[j] - value) <= within), -1)
        assert owner[i] == first
        if first < 0:
            stay.append(i)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(0, 60),
    dimension=st.sampled_from([3, 8, 20]),
    axes=st.integers(1, 6),
)
def test_short_vectors_never_hide_a_similar_pair(seed, n, dimension, axes):
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n, dimension)).astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1)[:, None], 1e-9)
    short = shortened(vectors, axes)
    assert short.shape[1] == min(dimension, axes + 1) or n == 0
    assert (short @ short.T >= vectors @ vectors.T - 1e-5).all()


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(0, 80),
    similarity=st.floats(0.5, 1.0),
    distance=st.integers(-1, 12),
)
def test_cleaning_equals_its_definition(seed, n, similarity, distance):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((6, 90))
    vectors = (centres[rng.integers(0, 6, n)] + 0.3 * rng.standard_normal((n, 90))).astype("f4")
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1)[:, None], 1e-9)
    codes = rng.integers(0, 2**63, 6)[rng.integers(0, 6, n)] ^ rng.integers(0, 256, n)
    pixels = rng.integers(0, max(n, 1), n)
    table = pd.DataFrame(
        {
            "key": [f"{i:03d}" for i in range(n)],
            "concept": "a",
            "vector": range(n),
            "pixels": [str(number) for number in pixels],
            "phash": codes.astype(np.uint64),
            "width": 9,
            "height": 9,
            "thumbnail": pd.Series([b""] * n, dtype=object),
            "reason": "",
            "detail": "",
            "duplicate_of": "",
        }
    )
    options = LongTailOptions(phash_distance=distance, embedding_similarity=similarity)
    remove_duplicates(table, vectors, options)
    left, expected = list(range(n)), {}
    exact = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    for reason, alike in (
        ("exact_pixels", lambda i, j: pixels[i] == pixels[j]),
        ("near_phash", lambda i, j: int(codes[i] ^ codes[j]).bit_count() <= distance),
        ("near_embedding", lambda i, j: exact[i, j] >= similarity),
    ):
        stay: list[int] = []
        for i in left:
            first = next((j for j in stay if alike(i, j)), None)
            if first is None:
                stay.append(i)
            else:
                expected[f"{i:03d}"] = (reason, f"{first:03d}")
        left = stay
    lost = table[table["reason"] != ""]
    columns = lost[["key", "reason", "duplicate_of"]].itertuples(index=False, name=None)
    assert {key: (reason, of) for key, reason, of in columns} == expected
    assert remaining(table).index.tolist() == left


def images(vectors, keys, contents, first=0):
    table = pd.DataFrame(
        {"sample_id": range(first, first + len(keys)), "shard": 0, "key": keys, "content": contents}
    )
    return table.assign(**dict.fromkeys(TEXTS, "")), np.array(vectors, dtype=np.float32)


@given(
    offers=st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 9), st.sampled_from("uvwxyz")), max_size=40
    ),
    size=st.integers(1, 6),
    order=st.randoms(use_true_random=False),
)
def test_best_images_do_not_depend_on_the_order(offers, size, order):
    rows = [(s / 8, f"k{k}", f"{c}{s}") for s, k, c in offers]
    best: dict[str, tuple] = {}
    for i, (_, key, content) in sorted(
        enumerate(rows), key=lambda row: (-row[1][0], row[1][1], row[0])
    ):
        best.setdefault(content, (key, i))
    numbered = list(enumerate(rows))
    order.shuffle(numbered)
    search = TopKSearch(np.ones((1, 1)), size)
    for i, (score, key, content) in numbered:
        search.add(*images([[score]], [key], [content], first=i))
    table, _ = search.table(lambda shard, sample: "")
    table = table[~table["copy"].astype(bool)]
    pairs = zip(table["key"], table["sample_id"], strict=True)
    assert list(pairs) == list(best.values())[:size]


def test_memory_holds_only_candidates():
    search = TopKSearch(np.array([[1], [-1]]), 3)
    for i in range(500):
        search.add(*images([[i / 500]], [str(i)], [str(i)], first=i))
        assert sum(len(part.images) for part in search._held) <= 2 * 3 * 3 + 2
    table, vectors = search.table(lambda shard, sample: "")
    keys = table.groupby("class_id")["key"].agg(list).tolist()
    assert keys == [["499", "498", "497"], ["0", "1", "2"]]
    assert len(vectors) == 6


def test_image_goes_where_it_ranks_best_not_where_it_scores_best():
    concepts = np.array([[1, 0], [0, 1], [0.5, 0.5]], dtype=np.float32)
    search = TopKSearch(concepts[:2], 5)
    search.add(*images([(0.9, 0.1), (0.8, 0.3), (0.7, 0.2)], list("123"), list("123")))
    cleaning = Cleaning(
        concepts=concepts,
        ids=[0, 1],
        names=["a", "b", "c"],
        against=(),
        senses=None,
        review=None,
        options=LongTailOptions(),
    )
    table = assign_classes(*search.table(lambda shard, sample: ""), cleaning)
    found = remaining(table).set_index("key")
    assert found["concept"].to_dict() == {"1": "a", "2": "b", "3": "b"}
    assert found.loc["1", "runner_up"] == "c"
    assert round(found.loc["1", "margin"], 3) == 0.4
    assert found.loc["2", "runner_up"] == "a"
    assert round(found.loc["2", "margin"], 3) == -0.5
    assert table.loc[table["reason"] != "", "reason"].tolist() == ["other_class"] * 3


def test_runner_up_of_a_single_concept_is_nobody():
    one = np.ones((1, 1), dtype=np.float32)
    assert runners_up(one, one, [0]) == [(-1, float("inf"))]


@settings(max_examples=150)
@given(names=st.lists(st.text(min_size=1, max_size=120), unique=True, min_size=1, max_size=12))
def test_folder_names_are_safe_and_distinct(names):
    folders = folder_names(names)
    assert len({folder.casefold() for folder in folders}) == len(names)
    for folder in folders:
        assert 0 < len(folder) <= MAX_NAME
        assert set(folder) <= set(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
        )
        assert folder.casefold() not in RESERVED


@given(text=st.text(max_size=200), limit=st.integers(8, 80))
def test_any_key_is_one_safe_path_component(text, limit):
    part = safe_part(text, limit=limit)
    assert 0 < len(part) <= limit
    assert not set(part) & set("/\\.: \0")


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("great dane", "great_dane"),
        ("St. Bernard", "St_Bernard"),
        ("Boeing 737-200", "Boeing_737-200"),
        ("2012 Audi A5 Coupe", "2012_Audi_A5_Coupe"),
        ("../../etc/passwd", "etc-passwd"),
        ("NUL", "NUL_"),
        ("a\\b:c", "a-b-c"),
    ],
)
def test_plain_names_keep_their_look(name, folder):
    assert folder_names([name]) == (folder,)


def test_lookalikes_and_case_variants_get_a_digest():
    latin, cyrillic = "cat", "c\u0430t"
    folders = folder_names([latin, cyrillic, "Cat", "猫", "g" * 300, "..."])
    assert len({f.casefold() for f in folders}) == 6
    assert folders[3].startswith("unnamed-")
    assert max(map(len, folders)) <= MAX_NAME


@given(text=st.text(max_size=80))
def test_csv_text_is_one_inert_line(text):
    safe = csv_text(text)
    assert not safe.lstrip().startswith(("=", "+", "-", "@"))
    assert "\n" not in safe
    assert "\r" not in safe
    assert "\t" not in safe
    safe.encode()

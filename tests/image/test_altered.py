"""Altered copies of photographs, in both checks that look for them; frames, hashes, thumbnails."""

import io
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageOps

from conceptaudit.image.altered import (
    ALTERED_BITS,
    AlteredSearch,
    HashTable,
    copies_among,
    version_hashes,
)
from conceptaudit.image.decode import decode_image
from conceptaudit.image.duplicates import find_duplicates
from conceptaudit.image.thumbnails import Thumbnails, thumbnail_of, without_frame
from conceptaudit.longtail.fingerprints import fingerprint_of
from conceptaudit.longtail.leak_probes import PictureProbe
from conceptaudit.records import SampleBatch

N = 12


def bar_below(image: Image.Image) -> Image.Image:
    framed = Image.new("RGB", (image.width, image.height * 9 // 8), "white")
    framed.paste(image)
    ImageDraw.Draw(framed).text((10, image.height + 10), "what is seen here", "black")
    return framed


def crop(share: float):
    return lambda image: ImageOps.crop(image, int(share * image.width))


ALTERATIONS = {
    "mirror": (ImageOps.mirror, N),
    "border": (lambda image: ImageOps.expand(image, image.width // 12, "white"), N),
    "caption bar": (bar_below, N),
    "crop 5 %": (crop(0.05), N - 1),
    "crop 10 %": (crop(0.1), N - 1),
    "turn": (lambda image: image.rotate(5, Image.Resampling.BICUBIC), N - 2),
    "grey mirror": (lambda image: ImageOps.mirror(image).convert("L").convert("RGB"), N),
}


@pytest.fixture(scope="module")
def photographs(realdata) -> list[Image.Image]:
    paths = sorted((realdata / "photos" / "coco-mini").rglob("*.jpg"))[: 2 * N]
    return [decode_image(path.read_bytes()) for path in paths]


@pytest.fixture(scope="module")
def plain(photographs) -> Thumbnails:
    return Thumbnails.of([thumbnail_of(image) for image in photographs])


def encoded(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ALTERATIONS)
def test_altered_copies_are_found_both_ways(photographs, plain, kind) -> None:
    alter, at_least = ALTERATIONS[kind]
    copies = Thumbnails.of(
        [thumbnail_of(decode_image(encoded(alter(image)))) for image in photographs[:N]]
    )
    found = AlteredSearch.of(plain).copies_of(copies)
    back = AlteredSearch.of(copies).copies_of(plain)
    assert len(found) >= at_least
    assert (found.rows == found.columns).all(), "a copy of another photograph"
    assert found.rows.tolist() == back.columns.tolist()
    assert (found.scores >= 0.95).all()


def test_different_photographs_are_not_copies(plain) -> None:
    assert len(copies_among(plain)) == 0


def test_near_duplicates_of_an_audit_know_altered_copies(photographs) -> None:
    """Embeddings that say nothing: `--near-duplicates auto` lets thumbnails decide here."""
    copies = [ImageOps.mirror(photographs[0]), bar_below(photographs[1]), photographs[3]]
    images = [*photographs[:5], *copies]
    vectors = np.eye(len(images), dtype=np.float32) + 0.01
    thumbnails = Thumbnails.of([thumbnail_of(image) for image in images])
    names = [str(i) for i in range(len(images))]
    found = find_duplicates(
        vectors, 0.9, identities=names, thumbnails=thumbnails, altered_threshold=-1.0
    )
    groups = found.representative
    assert len(np.unique(groups)) == 5
    assert (groups[5], groups[6], groups[7]) == (groups[0], groups[1], groups[3])
    strict = find_duplicates(vectors, 0.9, identities=names, thumbnails=thumbnails)
    assert strict.n_unique == len(images), "embeddings were to agree"


def test_the_leak_check_names_the_alteration(photographs) -> None:
    files = [encoded(image) for image in photographs[:6]]
    images = pd.DataFrame([asdict(fingerprint_of(data, decode_image(data))) for data in files])
    mirrored = encoded(ImageOps.mirror(decode_image(files[4])))
    batch = SampleBatch(
        sample_ids=np.arange(2), keys=["other", "mirror"],
        images=[encoded(photographs[9]), mirrored],
    )  # fmt: skip
    for distance, n_hits in ((10, 1), (-1, 0)):
        probe = PictureProbe.of(None, images, distance=distance)
        hits = probe._batch(batch).hits
        assert len(hits) == n_hits
    [hit] = PictureProbe.of(None, images, distance=10)._batch(batch).hits
    assert (hit.candidate, hit.reason, hit.key) == (4, "leak_altered", "mirror")
    assert hit.detail.startswith("mirrored, correlation ")


def test_plain_ground_and_small_images_resemble_nothing() -> None:
    ground = Image.new("RGB", (200, 200), (200, 180, 160))
    drawn = ground.copy()
    ImageDraw.Draw(drawn).point((3, 3), "black")
    noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    small = [Image.fromarray(noise), Image.fromarray(noise[:, ::-1].copy())]
    thumbnails = Thumbnails.of([thumbnail_of(image) for image in (ground, drawn, *small)])
    assert len(copies_among(thumbnails)) == 0


def test_thumbnails_written_before_there_were_grey_ones_are_read() -> None:
    old = bytes(range(192))
    thumbnails = Thumbnails.of([old, b"", old + bytes(576)])
    assert thumbnails.known.tolist() == [True, False, True]
    assert thumbnails.owners.tolist() == [2]
    taken = thumbnails[np.array([2, 0, 2])]
    assert taken.owners.tolist() == [0, 2]
    assert taken.colours[1].tolist() == list(old)


def test_frames() -> None:
    rng = np.random.default_rng(1)
    inner = rng.integers(0, 255, (120, 120), dtype=np.uint8)
    assert without_frame(inner) is None
    framed = inner.copy()
    framed[:9], framed[:, 112:] = 250, 250
    assert without_frame(framed) == (0, 10, 111, 120)
    assert without_frame(np.full((120, 120), 7, dtype=np.uint8)) is None, "nothing would be left"


@given(st.integers(0, 2**32))
def test_hashes_of_many_equal_hashes_of_one(seed: int) -> None:
    greys = np.random.default_rng(seed).integers(0, 256, (5, 576), dtype=np.uint8)
    together, _ = version_hashes(greys)
    for row, alone in enumerate(greys):
        np.testing.assert_array_equal(version_hashes(alone[None])[0][0], together[row])


@given(st.integers(0, 2**32))
def test_hash_table_finds_what_its_definition_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, 40, dtype=np.uint64)
    flips = np.zeros(40, dtype=np.uint64)
    for _ in range(9):
        flips ^= np.uint64(1) << rng.integers(0, 64, 40).astype(np.uint64)
    queries = hashes ^ flips
    pairs = {
        (int(q), int(h))
        for part in HashTable.of(hashes).near(queries, ALTERED_BITS)
        for q, h in zip(*part, strict=True)
    }
    wanted = set()
    for q, query in enumerate(queries.tolist()):
        for h, value in enumerate(hashes.tolist()):
            quarters = [((query ^ value) >> shift) & 0xFFFF for shift in (0, 16, 32, 48)]
            if (query ^ value).bit_count() <= ALTERED_BITS and min(
                part.bit_count() for part in quarters
            ) <= 1:
                wanted.add((q, h))
    assert pairs == wanted

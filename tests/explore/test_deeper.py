"""Search by words, copies of one image, the review of a long-tail set, tags kept in memory."""

import json
import re
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import pytest

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.cli.main import main
from conceptaudit.explore.opened import OpenRun
from conceptaudit.lab import LabConfig, generate, lab_vocabulary


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated images with copies, audited by the bundled model; an index, a set, its review."""
    folder = tmp_path_factory.mktemp("lab")
    config = LabConfig(
        seed=3, n_samples=120, shard_size=60, image_size=64, n_concepts=12, max_objects=1,
        exact_duplicate_rate=0.2,
    )  # fmt: skip
    generate(config, folder / "data")
    options = AuditOptions(clip="lab", workers=1, near_duplicates="exact")
    audit(folder / "data", lab_vocabulary(config), folder / "run", options=options)
    embeddings = str(folder / "run" / "embeddings")
    index = ["index", "build", embeddings, "-o", str(folder / "index"), "--clip", "lab"]
    assert main(index) == 0
    tail = ["longtail", str(folder / "run"), "--images", str(folder / "data"), "--k", "3"]
    tail += ["--clip", "lab", "--per-class", "3", "--workers", "1"]
    out = ["-o", str(folder / "set"), "--review-out", str(folder / "review.csv")]
    assert main([*tail, *out]) == 0
    return folder


def test_words_find_their_images_and_go_into_the_selection(lab: Path, serve, ask) -> None:
    truth = pd.read_parquet(lab / "data" / "truth.parquet")
    shown = truth[truth["image_ok"] & (truth["image"].str.len() > 0)]["image"].str[0]
    concept = shown.value_counts().index[0]
    keys = set(truth.loc[truth["image"].map(lambda names: concept in list(names)), "key"])
    server = serve(lab / "run", index=str(lab / "index"), clip="lab")
    query = urlencode({"q": f"a photo of a {concept}"})
    page = ask(f"{server.address}search?{query}")
    assert page.status == 200
    assert "The nearest" in page.text
    assert ask(f"{server.address}search", data=query.encode()).status == 200
    table = ask(f"{server.address}selection.csv").text.splitlines()
    found = [line.split(",")[2] for line in table[1:]]
    assert len(found) > 5
    # the nearest are of the concept: by chance a twelfth would be
    assert np.mean([key in keys for key in found[:5]]) >= 0.8
    sample = table[1].split(",")[1]
    like = ask(f"{server.address}search?like={sample}")
    assert like.status == 200
    assert found[0] in like.text.partition("best first")[2].partition("</li>")[0]


def test_copies_of_an_image_stand_beside_each_other(lab: Path, serve, ask) -> None:
    run = OpenRun(lab / "run", "run")
    groups = pd.Series(run.copies)
    assert groups.value_counts().max() > 1
    copied = {s for s, g in run.copies.items() if (groups == g).sum() > 1}
    concept = next(
        i for i in range(len(run.record.concepts)) if len(copied & set(run.tags(i).image)) > 1
    )
    server = serve(lab / "run")
    page = ask(f"{server.address}r/run/concept/{concept}?view=copies").text
    assert "copies of one image" in page
    ids = [int(sample) for sample in re.findall(r'class="frame" href="[^"]*/sample/(\d+)"', page)]
    shown = [run.copies[sample] for sample in ids]
    assert len(shown) > 1
    assert shown == sorted(shown)
    assert all(shown.count(group) > 1 for group in shown)
    one = ask(f"{server.address}r/run/sample/{ids[0]}").text
    assert "Copies of its image" in one
    run.close()


def test_a_long_tail_set_is_reviewed(lab: Path, serve, ask, tmp_path: Path) -> None:
    review = tmp_path / "review.csv"
    review.write_bytes((lab / "review.csv").read_bytes())
    server = serve(lab / "run", longtail=str(lab / "set"), judge=(review,))
    page = ask(f"{server.address}judge")  # one file: its first question at once
    assert "Does this image show" in page.text
    book = server.session.queues[0].book
    first = book.questions[0]
    form = {"question": first.id, "answer": "no", "by": "ann"}
    assert ask(f"{server.address}judge/0", data=urlencode(form).encode()).status == 200
    filled = pd.read_csv(book.filled)
    assert filled["verdict"].fillna("").tolist() == ["wrong"] + [""] * (len(filled) - 1)
    assert ask(f"{server.address}set/image/0").headers["content-type"] == "image/webp"
    for question in book.questions[1:]:
        book.answer(question.id, "yes", "ann")
    done = ask(f"{server.address}judge/0?by=ann").text
    assert "--review-in review.answered.csv" in done
    assert "100 %" in done.replace("\u00a0", " ")  # the purity of a class without a wrong image
    tail = ["longtail", str(lab / "run"), "--images", str(lab / "data"), "--k", "3", "--clip"]
    tail += ["lab", "--per-class", "3", "--workers", "1", "-o", str(tmp_path / "again")]
    assert main([*tail, "--review-in", str(book.filled)]) == 0
    manifest = json.loads((tmp_path / "again" / "manifest.json").read_text())
    assert manifest["removed"]["judged_wrong"] == 1


def test_tags_in_memory_are_those_of_the_files(lab: Path) -> None:
    read, loaded = (OpenRun(lab / "run", "run") for _ in range(2))
    loaded.load_tags()
    for concept in range(len(read.record.concepts)):
        one, other = read.tags(concept), loaded.tags(concept)
        assert one.text.tolist() == other.text.tolist()
        assert one.image.tolist() == other.image.tolist()
        assert one.scores.tolist() == other.scores.tolist()
    samples = read.tags(0).image[:5].tolist()
    assert read.tags_of(samples) == loaded.tags_of(samples)
    read.close()
    loaded.close()


def test_a_set_has_a_figure(lab: Path, tmp_path: Path) -> None:
    out = tmp_path / "classes.svg"
    assert main(["figure", str(lab / "set"), "-o", str(out), "--width", "174"]) == 0
    classes = pd.read_csv(lab / "set" / "classes.csv")
    text = out.read_text()
    assert all(name in text for name in classes.loc[classes["included"], "concept"])

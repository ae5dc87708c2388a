"""Other tools read a finished set: CLIP_benchmark its archives, Hugging Face its card."""

import io
import tarfile
import warnings

import numpy as np
import open_clip
import pytest
import torch
import yaml
from PIL import Image

from conceptaudit.lab.bundled import lab_clip_path
from conceptaudit.longtail import LongTailOptions, build_long_tail
from conceptaudit.zeroshot.evaluate import evaluate
from conceptaudit.zeroshot.sets import open_evaluation_set

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the packages that it imports
    from clip_benchmark.datasets.builder import build_wds_dataset
    from clip_benchmark.metrics import zeroshot_classification

OPTIONS = LongTailOptions(k=3, per_class=5, oversample=4)


@pytest.fixture
def made(tmp_path, run, encoder, make_pool, plain_files):
    files = dict(plain_files)
    for name in [name for name in files if name.startswith("violet")]:
        stream = io.BytesIO()  # a kind of picture that CLIP_benchmark does not decode
        Image.open(io.BytesIO(files.pop(name))).save(stream, "BMP")
        files[name.replace(".png", ".bmp")] = stream.getvalue()
    return build_long_tail(run, make_pool(files), tmp_path / "out", options=OPTIONS, clip=encoder)


def test_archives_hold_the_images_and_their_classes(made):
    with tarfile.open(made.folder / "test" / "0.tar") as archive:
        members = archive.getmembers()
        contents = {info.name: archive.extractfile(info).read() for info in members}
    assert (made.folder / "test" / "nshards.txt").read_text() == "1\n"
    assert {(info.mtime, info.uid, info.mode, info.uname) for info in members} == {(0, 0, 420, "")}
    for number, row in enumerate(made.images.itertuples()):
        key = f"s{number:07d}"
        assert int(contents[f"{key}.cls"]) == row.class_index
        ending = "png" if row.file.endswith(".bmp") else row.file.rpartition(".")[2]
        inside = np.asarray(Image.open(io.BytesIO(contents[f"{key}.{ending}"])))
        assert np.array_equal(inside, np.asarray(Image.open(made.folder / row.file)))
    assert any(row.file.endswith(".bmp") for row in made.images.itertuples())
    assert len(contents) == 2 * len(made.images)


@pytest.mark.filterwarnings("ignore")  # of webdataset and the data loader
def test_clip_benchmark_evaluates_it_and_so_do_we(made, monkeypatch, tmp_path):
    # it turns arrays of one element into numbers with float(), which numpy 2.4 refuses
    module = zeroshot_classification
    monkeypatch.setattr(module, "float", lambda value: np.asarray(value).item(), raising=False)
    name = f"local-dir:{lab_clip_path()}"
    model, _, transform = open_clip.create_model_and_transforms(name)
    model.eval()
    dataset = build_wds_dataset("tail", transform=transform, data_dir=str(made.folder))
    loader = torch.utils.data.DataLoader(dataset.batched(64), batch_size=None, num_workers=0)
    loader.dataset.classes = dataset.classes
    expected = zeroshot_classification.evaluate(
        model,
        loader,
        open_clip.get_tokenizer(name),
        dataset.classes,
        dataset.templates,
        "cpu",
        amp=False,
    )
    found = evaluate(open_evaluation_set(made.folder), ["lab"], tmp_path / "results", workers=1)
    assert found.results[0].account["n_used"] == len(made.images)
    for metric in ("acc1", "mean_per_class_recall"):
        assert found.results[0].scores[metric].value == pytest.approx(expected[metric], abs=1e-4)
    assert found.table["concept"].tolist() == list(made.concepts)


def test_the_card_says_what_the_set_is(made):
    text = (made.folder / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    told = yaml.safe_load(front)
    assert told["configs"][0]["data_files"] == [{"split": "test", "path": "images/**"}]
    for concept in made.concepts:
        assert f"| {concept} | 5 |" in body
    for reason, n in made.manifest["removed"].items():
        assert f"| {n} | " in body, reason
    assert "15 images of 3 concepts" in body


def test_names_cannot_write_markup_into_the_card(tmp_path, encoder, make_pool, plain_files):
    from .conftest import write_audit

    counts = {"red": 9, "green <b>|x": 3}
    vectors = encoder.encode_texts(list(counts))
    run = write_audit(tmp_path / "run", counts, vectors=vectors)
    made = build_long_tail(
        run, make_pool(plain_files), tmp_path / "out", options=OPTIONS, clip=encoder
    )
    text = (made.folder / "README.md").read_text()
    assert "<b>" not in text
    assert "green &#60;b&#62;&#124;x" in text

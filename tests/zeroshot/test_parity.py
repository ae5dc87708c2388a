"""The numbers are those of CLIP_benchmark for the same weights, images, names and templates."""

import tarfile
import warnings

import numpy as np
import open_clip
import pytest
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the packages that it imports
    from clip_benchmark.datasets.builder import build_wds_dataset
    from clip_benchmark.metrics import zeroshot_classification, zeroshot_retrieval

from conceptaudit.datasets import open_dataset
from conceptaudit.lab.bundled import lab_clip_path
from conceptaudit.options.zeroshot import RetrievalOptions
from conceptaudit.zeroshot.evaluate import evaluate
from conceptaudit.zeroshot.retrieve import evaluate_retrieval
from conceptaudit.zeroshot.sets import open_evaluation_set

from .conftest import add_member

TOLERANCE = 1e-4

pytestmark = pytest.mark.filterwarnings("ignore")  # of webdataset and the data loader


@pytest.fixture(scope="module")
def theirs():
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{lab_clip_path()}")
    model.eval()
    return model, transform, open_clip.get_tokenizer(f"local-dir:{lab_clip_path()}")


def loader(folder, transform):
    dataset = build_wds_dataset("lab", transform=transform, split="test", data_dir=str(folder))
    batches = torch.utils.data.DataLoader(dataset.batched(64), batch_size=None, num_workers=0)
    batches.dataset.classes = dataset.classes
    return batches, dataset


def test_classification(webdataset, theirs, tmp_path, monkeypatch):
    # it turns arrays of one element into numbers with float(), which numpy 2.4 refuses
    module = zeroshot_classification
    monkeypatch.setattr(module, "float", lambda value: np.asarray(value).item(), raising=False)
    model, transform, tokenizer = theirs
    batches, dataset = loader(webdataset, transform)
    expected = zeroshot_classification.evaluate(
        model, batches, tokenizer, dataset.classes, dataset.templates, "cpu", amp=False
    )
    found = evaluate(open_evaluation_set(webdataset), ["lab"], tmp_path / "run", workers=1)
    scores = {name: score.value for name, score in found.results[0].scores.items()}
    assert scores.keys() == expected.keys()
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value, abs=TOLERANCE), name
    assert 0.2 < scores["acc1"] < 1.0  # neither chance nor trivially right


def test_retrieval(theirs, pictures, class_names, tmp_path):
    model, transform, tokenizer = theirs
    root = tmp_path / "retrieval"
    (root / "test").mkdir(parents=True)
    with tarfile.open(root / "test" / "0.tar", "w") as archive:
        for number, (index, data) in enumerate(pictures):
            name = class_names[index]
            captions = [f"a {name} number {number}", f"photo {number} of a {name}"][
                : 1 + number % 2
            ]
            add_member(archive, f"s{number:06d}.jpg", data)
            add_member(archive, f"s{number:06d}.txt", "\n".join(captions).encode())
    (root / "test" / "nshards.txt").write_text("1")
    (root / "dataset_type.txt").write_text("retrieval")
    dataset = build_wds_dataset("lab", transform=transform, split="test", data_dir=str(root))

    def collated(rows):
        return torch.stack([row[0] for row in rows]), [row[1] for row in rows]

    batches = torch.utils.data.DataLoader(
        list(dataset), batch_size=16, collate_fn=collated, shuffle=False
    )
    expected = zeroshot_retrieval.evaluate(
        model, batches, tokenizer, "cpu", amp=False, recall_k_list=[1, 5]
    )
    found = evaluate_retrieval(
        open_dataset(root / "test"),
        ["lab"],
        tmp_path / "run",
        options=RetrievalOptions(recall_at=(1, 5)),
        workers=1,
    )
    values = dict(zip(found.overall["metric"], found.overall["value"], strict=True))
    assert values.keys() == expected.keys()
    for name, value in expected.items():
        assert values[name] == pytest.approx(value, abs=TOLERANCE), name
    assert len(set(np.round(list(values.values()), 3))) > 2

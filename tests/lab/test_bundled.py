"""The bundled model loads as any user's model does, and knows what its data showed often."""

import io
import json
from dataclasses import replace

from PIL import Image

from conceptaudit.lab import lab_clip_data, lab_clip_path, lab_vocabulary
from conceptaudit.lab.folders import draw_test_picture

METRICS = json.loads((lab_clip_path() / "metrics.json").read_text(encoding="utf-8"))


def test_it_is_small_and_documented() -> None:
    weights = lab_clip_path() / "open_clip_model.safetensors"
    assert weights.stat().st_size <= 12_000_000
    assert f"{METRICS['steps']:,} steps" in (lab_clip_path() / "README.md").read_text()
    names = [row["concept"] for row in METRICS["concepts"]]
    assert names == list(lab_vocabulary(lab_clip_data()).names)


def test_it_knows_the_head_well_and_the_tail_poorly() -> None:
    top1 = METRICS["top1_by_training_frequency"]
    assert top1["10 most frequent"] >= 0.8
    assert list(top1.values()) == sorted(top1.values(), reverse=True)
    assert top1["never seen"] < 0.02


def test_open_clip_loads_it_and_it_recognises_head_concepts() -> None:
    import open_clip
    import torch

    source = f"local-dir:{lab_clip_path()}"
    model, _, preprocess = open_clip.create_model_and_transforms(source)
    tokenizer = open_clip.get_tokenizer(source)
    names = lab_vocabulary(lab_clip_data()).names
    config = replace(lab_clip_data(), seed=77)
    head, each = names[:8], 6
    pictures = []
    for name in head:
        for number in range(each):
            with Image.open(io.BytesIO(draw_test_picture(config, name, number))) as picture:
                pictures.append(preprocess(picture))
    model.eval()
    with torch.no_grad():
        texts = model.encode_text(tokenizer([f"a photo of a {n}" for n in names]), normalize=True)
        images = model.encode_image(torch.stack(pictures), normalize=True)
    guesses = (images @ texts.T).argmax(dim=1).tolist()
    right = sum(names[guess] == head[row // each] for row, guess in enumerate(guesses))
    assert right >= 0.7 * len(guesses)

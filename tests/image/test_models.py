"""Models run as they were trained, are told apart by what they do, and say what they lack."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transformer import QuickGELU
from PIL import Image
from safetensors.torch import load_file, save_file

from conceptaudit.auditing import AuditOptions, AuditRun, audit
from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError
from conceptaudit.image.clip import find_clip
from conceptaudit.image.clip_models import ModelName, label_of, parse_name
from conceptaudit.image.embed import check_embedded_with
from conceptaudit.image.embed import embed as embed_images
from conceptaudit.zeroshot.evaluate import evaluate
from conceptaudit.zeroshot.sets import open_evaluation_set

PAIRS = open_clip.list_pretrained()


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may wait for a network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_every_pair_runs_the_activation_that_its_tag_asks_for() -> None:
    forced = []
    for architecture, tag in PAIRS:
        trained = open_clip.get_pretrained_cfg(architecture, tag).get("quick_gelu")
        configured = open_clip.get_model_config(architecture).get("quick_gelu", False)
        asked = parse_name(f"{architecture}/{tag}")
        assert (asked.architecture, asked.weights) == (architecture, tag)
        runs = configured or asked.forces_quick_gelu
        assert runs == (configured if trained is None else trained), (architecture, tag)
        assert bool(asked.notes) == asked.forces_quick_gelu
        forced += [(architecture, tag)] if asked.forces_quick_gelu else []
    assert ("ViT-B-32", "openai") in forced
    assert ("roberta-ViT-B-32", "laion2b_s12b_b32k") not in forced
    # 27 of 196 in open_clip 3.3; other versions may have other pairs
    assert len(forced) == sum(
        bool(open_clip.get_pretrained_cfg(a, t).get("quick_gelu"))
        and not open_clip.get_model_config(a).get("quick_gelu", False)
        for a, t in PAIRS
    )
    assert len(forced) >= 20


TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
    "text_cfg": {
        "context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2,
    },
}  # fmt: skip


@pytest.fixture
def planted(monkeypatch, tmp_path):
    """A tiny model with a tag of its own whose weights lie in a local cache."""
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", TINY)
    torch.manual_seed(3)
    trained = open_clip.create_model("tiny", force_quick_gelu=True).eval()
    weights = tmp_path / "cache" / "weights.safetensors"
    weights.parent.mkdir()
    with torch.no_grad():
        for name, parameter in trained.named_parameters():
            if "mlp" in name:  # weights of a trained size: near zero the activations agree
                parameter.normal_(std=0.3)
    save_file(trained.state_dict(), weights)
    tag = {"url": "", "hf_hub": "", "quick_gelu": True}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", {"openai": tag})
    monkeypatch.setattr(
        open_clip.factory, "download_pretrained", lambda *_args, **_options: str(weights)
    )
    return trained


@pytest.mark.filterwarnings("ignore:QuickGELU mismatch")
def test_planted_weights_give_the_trained_networks_vectors(planted) -> None:
    model = find_clip("tiny/openai", device="cpu")
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8))
    assert any(isinstance(m, QuickGELU) for m in model._loaded().model.modules())
    _, _, transform = open_clip.create_model_and_transforms("tiny", pretrained="openai")
    with torch.inference_mode():
        pixels = transform(image)[None]
        want = planted.encode_image(pixels, normalize=True).numpy()
        wrong = open_clip.create_model("tiny", pretrained="openai").eval()
        plain = wrong.encode_image(pixels, normalize=True).numpy()
        tokens = open_clip.get_tokenizer("tiny")(["a dog"])
        want_text = planted.encode_text(tokens, normalize=True).numpy()
    np.testing.assert_allclose(model.encode_images([image]), want, atol=1e-6)
    np.testing.assert_allclose(model.encode_texts(["a dog"]), want_text, atol=1e-6)
    assert float(np.abs(want - plain).max()) > 5e-4
    assert "trained with QuickGELU" in model.notes[0]
    assert any("QuickGELU" in name for name in model.configuration["activations"])


def folder_like(source: Path, target: Path, **changes: object) -> Path:
    """Copy a model's folder with another configuration and the same weights."""
    shutil.copytree(source, target)
    file = target / "open_clip_config.json"
    config = json.loads(file.read_text())
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = config
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    file.write_text(json.dumps(config))
    return target


CHANGES = {
    "activation": {"model_cfg__quick_gelu": True},
    "mean": {"preprocess_cfg__mean": [0.5, 0.5, 0.5]},
    "std": {"preprocess_cfg__std": [0.5, 0.5, 0.5]},
    "interpolation": {"preprocess_cfg__interpolation": "bilinear"},
    "resize mode": {"preprocess_cfg__resize_mode": "squash"},
    "tokenizer": {"model_cfg__text_cfg__tokenizer_kwargs": {"clean": "whitespace"}},
}


@pytest.fixture
def tiny_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY}))
    torch.manual_seed(0)
    model = open_clip.create_model(f"local-dir:{folder}")
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def test_the_digest_covers_what_the_weights_do_not_say(tiny_folder, tmp_path) -> None:
    base = find_clip(str(tiny_folder), device="cpu").digest
    assert find_clip(f"local-dir:{tiny_folder}", device="cpu").digest == base
    moved = shutil.copytree(tiny_folder, tmp_path / "moved")
    assert find_clip(str(moved), device="cpu").digest == base
    digests = {
        what: find_clip(
            str(folder_like(tiny_folder, tmp_path / what, **change)), device="cpu"
        ).digest
        for what, change in CHANGES.items()
    }
    assert len({base, *digests.values()}) == len(digests) + 1


def test_vectors_of_another_network_are_refused(tiny_folder, tmp_path, class_images) -> None:
    opened = open_evaluation_set(class_images)
    first = find_clip(str(tiny_folder), device="cpu")
    made = embed_images(opened.dataset, first, tmp_path / "emb", workers=1)
    manifest = json.loads((made.folder / "manifest.json").read_text())
    assert manifest["configuration"] == json.loads(json.dumps(dict(first.configuration)))
    assert {"open_clip_torch", "torch", "spacy"} <= set(manifest["versions"])
    check_embedded_with(str(made.folder), first)
    other = folder_like(tiny_folder, tmp_path / "other", model_cfg__quick_gelu=True)
    with pytest.raises(ArtifactMismatchError, match="configuration"):
        check_embedded_with(str(made.folder), find_clip(str(other), device="cpu"))


@pytest.fixture
def class_images(tmp_path: Path) -> Path:
    """Two classes of two images, not square."""
    rng = np.random.default_rng(1)
    for name in ("dog", "cat"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(2):
            pixels = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / name / f"{number}.png")
    return tmp_path / "set"


def goes_through_every_step(clip: str, images: Path, folder: Path) -> AuditRun:
    """Embed, evaluate and audit four images with a model; the audit as it came out."""
    model = find_clip(clip, device="cpu")
    opened = open_evaluation_set(images)
    made = embed_images(opened.dataset, model, folder / "emb", workers=1)
    assert made.account["n_used"] == 4
    found = evaluate(opened, [model], folder / "run", workers=1)
    assert found.results[0].account["n_used"] == 4
    options = AuditOptions(clip=clip, device="cpu", calibration="none")
    run = audit(images, ["dog", "cat"], folder / "audit", options=options)
    assert run.account["image"]["n_used"] == 4
    return run


def siglip(folder: Path, architecture: str = "ViT-B-16-SigLIP") -> Path:
    """A SigLIP in small: its own tokenizer, 64 tokens, a bias, squashed images, no causal mask."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    folder.mkdir()
    words = ["<pad>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz.", "photo", "dog", "cat", "of"]
    vocabulary = [(word, -float(number)) for number, word in enumerate(words)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=2))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    config = open_clip.get_model_config(architecture)
    config["embed_dim"] = 48
    config["vision_cfg"] = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}
    config["text_cfg"] |= {"vocab_size": len(words), "width": 48, "heads": 2, "layers": 1}
    file = folder / "open_clip_config.json"
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"}
    file.write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    torch.manual_seed(1)
    model = open_clip.create_model(f"local-dir:{folder}")
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


@pytest.mark.parametrize("architecture", ["ViT-B-16-SigLIP", "ViT-B-16-SigLIP2"])
def test_siglip_with_its_own_tokenizer(architecture, tmp_path, class_images) -> None:
    """Its text tower and settings; the published tokenizers and weights cannot be had here."""
    folder = siglip(tmp_path / "siglip", architecture)
    model = find_clip(str(folder), device="cpu")
    assert model.configuration["context_length"] == 64
    assert model.configuration["preprocessing"]["resize_mode"] == "squash"
    assert "logit_bias" in load_file(folder / "open_clip_model.safetensors")
    goes_through_every_step(str(folder), class_images, tmp_path)
    vectors = model.encode_texts(["dog", "cat", "DOG"])
    assert float(vectors[0] @ vectors[2]) == pytest.approx(1, abs=1e-6)
    assert float(vectors[0] @ vectors[1]) < 1 - 1e-6
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(DataError, match=r"The tokenizer of .*siglip.*tokenizer.json"):
        find_clip(f"local-dir:{folder}", device="cpu")


def test_another_models_tokenizer_is_said_to_be_one(tmp_path) -> None:
    folder = siglip(tmp_path / "siglip")
    file = folder / "open_clip_config.json"
    config = json.loads(file.read_text())
    del config["model_cfg"]["text_cfg"]["hf_tokenizer_name"]
    config["model_cfg"]["text_cfg"]["tokenizer_kwargs"] = {}
    file.write_text(json.dumps(config))
    with pytest.raises(DataError, match=r"tokenizer .* does not fit its text tower"):
        find_clip(str(folder), device="cpu")


def test_images_that_are_not_square(tiny_folder, tmp_path, class_images) -> None:
    folder = folder_like(tiny_folder, tmp_path / "wide", model_cfg__vision_cfg__image_size=[32, 48])
    (folder / "open_clip_model.safetensors").unlink()
    model = open_clip.create_model(f"local-dir:{folder}")
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    found = find_clip(str(folder), device="cpu")
    assert found.prepare(Image.new("RGB", (90, 50))).shape == (3, 32, 48)
    goes_through_every_step(str(folder), class_images, tmp_path)


FAMILIES = ("coca_ViT-B-32", "EVA02-B-16", "MobileCLIP-S1", "convnext_tiny")


@pytest.mark.parametrize("architecture", FAMILIES)
def test_families_go_through_every_step(architecture, class_images, tmp_path, caplog) -> None:
    caplog.set_level(logging.ERROR)
    run = goes_through_every_step(f"{architecture}/untrained", class_images, tmp_path)
    assert any("random weights" in note for note in run.notes)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ViT-B-16-SigLIP/untrained", "The tokenizer of .*timm/ViT-B-16-SigLIP"),
        ("ViT-B-16-SigLIP2/webli", "The tokenizer of .*timm/ViT-B-16-SigLIP2"),
        ("roberta-ViT-B-32/untrained", "The tokenizer of .*roberta-base"),
        ("ViT-B-32/openai", "The model .*the weights 'openai'"),
        ("hf-hub:timm/ViT-B-16-SigLIP", "The configuration of .*open_clip_config.json"),
    ],
)
def test_what_is_missing_is_named(name, message) -> None:
    with pytest.raises(DataError, match=message):
        find_clip(name, device="cpu")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf-hub:", "hf-hub:ORGANISATION/NAME"),
        ("hf-hub:name", "hf-hub:ORGANISATION/NAME"),
        ("local-dir:/no/such/folder", "does not exist"),
        ("local-dir:{tmp}", "holds no open_clip_config.json"),
        ("VIT-B-32/openai", "Did you mean ViT-B-32"),
        ("vit-l-14/openai", "Did you mean ViT-L-14"),
        ("ViT-B-32", "must name weights"),
        ("ViT-B-32/opnai", "Did you mean openai"),
    ],
)
def test_names_that_are_no_models(name, message, tmp_path) -> None:
    with pytest.raises(ConfigError, match=message):
        find_clip(name.format(tmp=tmp_path), device="cpu")


def test_a_folder_without_weights_is_no_model(tiny_folder) -> None:
    (tiny_folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(DataError, match=r"needs .*open_clip_model.safetensors"):
        find_clip(f"local-dir:{tiny_folder}", device="cpu")


def test_labels_of_result_tables() -> None:
    assert label_of("hf-hub:timm/ViT-B-16-SigLIP") == ("timm/ViT-B-16-SigLIP", "")
    assert label_of("local-dir:models/mine") == ("mine", "")
    assert label_of("lab") == ("lab", "")
    assert ModelName(architecture="lab").notes == ()


def test_weights_cast_once_give_nearly_the_same_vectors(tiny_clip: Path) -> None:
    """What a GPU does to a model and its pixels, done on the CPU."""
    import copy

    from conceptaudit.image import clip as clip_module

    found = find_clip(str(tiny_clip), device="cpu")
    assert (found.batch, found.precision) == (64, "float32")
    assert find_clip(str(tiny_clip), device="cpu", batch_size=3).batch == 3
    with pytest.raises(ConfigError, match="--batch-size"):
        find_clip(str(tiny_clip), device="cpu", batch_size=0)
    loaded = clip_module._load(str(tiny_clip), "cpu", False)
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8))
    pixels = loaded.pixels.finish(found.prepare(image)[None])
    layout = {"dtype": torch.bfloat16, "memory_format": torch.channels_last}
    half = copy.deepcopy(loaded.model).to(**layout)
    with torch.inference_mode():
        exact = loaded.model.encode_image(pixels)
        cast = half.encode_image(pixels.to(**layout)).float()
        texts = half.encode_text(loaded.tokenizer(["a dog"])).float()
    assert float(torch.nn.functional.cosine_similarity(exact, cast)) > 0.999
    assert bool(torch.isfinite(texts).all())


def test_a_model_that_moved_to_the_cpu_is_not_loaded_again_to_decode(
    tiny_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from conceptaudit.image import clip as clip_module

    found = find_clip(str(tiny_clip), device="cpu")
    moved_from = found.on("cuda:0")
    monkeypatch.setattr(clip_module, "_open", lambda *_: pytest.fail("loaded anew"))
    image = Image.new("RGB", (50, 40), "red")
    assert bool((moved_from.prepare(image) == found.prepare(image)).all())

"""Fixtures shared by every room's tests."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# a busy machine is slow, and no test may fail by that
settings.register_profile("conceptaudit", deadline=None)
settings.load_profile("conceptaudit")

ROOT = Path(__file__).parent.parent
REALDATA = "CONCEPTAUDIT_REALDATA"
REQUIRE_REALDATA = "CONCEPTAUDIT_REQUIRE_REALDATA"


@pytest.fixture(autouse=True)
def same_working_folder() -> Iterator[None]:
    """A test that leaves the process in another folder breaks the relative paths of later ones."""
    before = Path.cwd()
    yield
    assert Path.cwd() == before


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real captions, vectors, photographs and published results.

    It is not part of the project (licences). Without it the test is skipped, or fails where
    `REQUIRE_REALDATA` is set, as `.ci/run` does where the folder is present.
    """
    folder = Path(os.environ.get(REALDATA, ROOT.parent / "shared" / "data"))
    if folder.is_dir():
        return folder
    reason = f"the real data folder {folder} is missing; set {REALDATA} to where it is"
    if os.environ.get(REQUIRE_REALDATA):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real open_clip model in open_clip's own folder format, small and untrained."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    config = {
        "embed_dim": 16,
        "vision_cfg": {
            "image_size": 32,
            "layers": 1,
            "width": 32,
            "patch_size": 16,
            "head_width": 16,
        },
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": 16,
            "heads": 1,
            "layers": 1,
        },
    }
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    model = open_clip.CLIP(**config)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess})
    )
    return folder

"""Fixtures shared by every room's tests."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
REALDATA = "CONCEPTAUDIT_REALDATA"


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real captions, vectors, photographs and published results.

    It is not part of the project (licences). Without it the test is skipped, except in CI,
    where it is present and its absence is a failure.
    """
    folder = Path(os.environ.get(REALDATA, ROOT.parent / "shared" / "data"))
    if folder.is_dir():
        return folder
    reason = f"the real data folder {folder} is missing; set {REALDATA} to where it is"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)

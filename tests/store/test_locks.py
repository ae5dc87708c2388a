"""A run holds its folder alone, parts share it, and a file system without locks is named."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from conceptaudit.errors import ArtifactMismatchError, DataError
from conceptaudit.store.locks import exclusive, sharing


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_named_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("conceptaudit.store.locks.fcntl.flock", refuse)
    for hold in (exclusive(tmp_path), sharing(tmp_path, "0-of-2")):
        with pytest.raises(DataError, match=r"no file locks.*NFS as version 4.*-o"), hold:
            pass


def test_parts_share_and_the_whole_excludes(tmp_path: Path) -> None:
    with sharing(tmp_path, "0-of-2"), sharing(tmp_path, "1-of-2"):
        with pytest.raises(ArtifactMismatchError, match="Another run"), exclusive(tmp_path):
            pass
        with pytest.raises(ArtifactMismatchError, match="part 0-of-2"), sharing(tmp_path, "0-of-2"):
            pass
    with exclusive(tmp_path):
        with pytest.raises(ArtifactMismatchError, match="all parts"), sharing(tmp_path, "0-of-2"):
            pass
        with pytest.raises(ArtifactMismatchError, match="Another run"), exclusive(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("keep")
    (tmp_path / ".lock").symlink_to(tmp_path / "theirs")
    with pytest.raises(DataError, match="Cannot write"), exclusive(tmp_path):
        pass
    assert (tmp_path / "theirs").read_text() == "keep"

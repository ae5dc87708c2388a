"""Single files that a command writes: bound to a record, so that nobody else's file is replaced.

Beside ``predictions.csv`` lies ``predictions.csv.json``, which says what wrote it, from what, and
its digest. A file that is there already is replaced where such a record vouches for it, and left
alone where it is anybody else's or was changed since. The record comes first and names what it
replaces; so a command that is killed in between can be run again, and whoever reads the file sees
that it is of another run than its record.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError
from conceptaudit.store.checking import REPLACES, VERSION, read_bound, record_path
from conceptaudit.store.files import Json, digest_of, file_digest, write_json
from conceptaudit.store.partials import ScratchFolder
from conceptaudit.store.places import output_path


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFile:
    """A file that a command writes, and the record beside it."""

    path: Path  # where it is, or will be
    kind: str  # what it holds: ``"predictions"``, ``"vocab"``, …
    # says of a file's path whether it holds a whole result of this kind, for formats that vouch for
    # themselves; there is no record beside such a file
    is_ours: Callable[[Path], bool] | None = None

    @property
    def manifest(self) -> Path:
        """Where its record is."""
        return record_path(self.path)

    def record(self) -> dict[str, Json] | None:
        """Read its record; None where there is none, or a file of anybody's."""
        record = read_bound(self.path)
        return record if record is not None and record["kind"] == self.kind else None

    def is_whole(self) -> bool:
        """Whether the file is there as its record has it."""
        record = self.record()
        return record is not None and self._digest() == record["sha256"]

    def _digest(self) -> str | None:
        return file_digest(self.path) if self.path.exists() else None

    def check(self) -> None:
        """Refuse to replace a file that is not ours, or was changed since it was written."""
        if self.path.exists() and not self.path.is_file():
            what = "folder" if self.path.is_dir() else "device"
            raise ConfigError(f"{self.path} is a {what}; the output must be a file.")
        record = self.record()
        if self.is_ours is None and self.manifest.exists() and record is None:
            raise ArtifactMismatchError(
                f"{self.manifest} is there and was not written by conceptaudit, which would keep "
                f"the record of {self.path.name} in it. Name another file."
            )
        if not self.path.exists() or not self.path.stat().st_size:
            return
        if self.is_ours is not None:
            ours = self.is_ours(self.path)
        else:
            ours = record is not None and self._digest() in (record["sha256"], record.get(REPLACES))
        if not ours:
            why = (
                "has changed since conceptaudit wrote it"
                if record
                else (f"was not written by this version of conceptaudit as a {self.kind} file")
            )
            raise ArtifactMismatchError(
                f"{self.path} is there and {why}. Nothing was written: name another file, or move "
                "this one away."
            )

    def put(self, finished: Path, about: Mapping[str, Json]) -> None:
        """Move a finished file of the same file system into place, bound to its record."""
        record = {
            **about,
            "kind": self.kind,
            "version": VERSION,
            "sha256": file_digest(finished),
        }
        replaced = self._digest()
        try:
            if self.is_ours is None:
                changed = replaced not in (None, record["sha256"])
                write_json(self.manifest, record | ({REPLACES: replaced} if changed else {}))
            # through a link: it is the file that is replaced, and the link that stays
            finished.replace(os.path.realpath(self.path))
            self.settle()
        except OSError as error:
            raise DataError(f"Cannot write {self.path}: {error.strerror or error}.") from error

    def settle(self) -> None:
        """Leave out of the record what the file has replaced."""
        record = None if self.is_ours is not None else self.record()
        if record is not None and record.pop(REPLACES, None) is not None:
            write_json(self.manifest, record)


@dataclass(slots=True, kw_only=True)
class Staged:
    """Outputs that are not finished yet."""

    # where each output is to be written until all are finished
    places: dict[Path, Path] = field(default_factory=dict)
    # what their records will say; ``digest`` is that of the rest where it is not given
    about: dict[str, Json] = field(default_factory=dict)

    def __getitem__(self, path: str | Path) -> Path:
        return self.places[output_path(path)]


def output_files(kind: str, paths: Iterable[str | Path | None]) -> list[OutputFile]:
    """Name the outputs of a command, and check that each may be written."""
    outputs = [OutputFile(path=output_path(one), kind=kind) for one in paths if one is not None]
    for output in outputs:
        output.check()
    return outputs


@contextmanager
def staged(outputs: Iterable[OutputFile]) -> Iterator[Staged]:
    """Yield places to write to; on success move all files to where they belong, with records."""
    outputs = list(outputs)
    for output in outputs:
        output.check()
    with ExitStack() as stack:
        made, scratch = Staged(), {}
        for output in outputs:
            folder = Path(os.path.realpath(output.path)).parent
            if folder not in scratch:
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                    scratch[folder] = stack.enter_context(ScratchFolder(folder))
                except OSError as error:
                    raise DataError(
                        f"Cannot write {output.path}: {error.strerror or error}."
                    ) from error
            made.places[output.path] = scratch[folder] / output.path.name
        yield made
        digests = {str(path): file_digest(place) for path, place in made.places.items()}
        # of the files' contents, wherever they are written
        made.about.setdefault("digest", digest_of([made.about, sorted(digests.values())]))
        for output in outputs:
            others = {
                os.path.relpath(path, output.path.parent): digest
                for path, digest in digests.items()
                if path != str(output.path)
            }
            about = made.about | ({"with": others} if others else {})
            output.put(made.places[output.path], about)

"""The protocol of a run folder, the same for every verb: claim, resume, clear, tidy, finish."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError
from conceptaudit.store.checking import REPLACES, VERSION, digest_in, identify
from conceptaudit.store.files import Json, file_digest, read_json, write_json
from conceptaudit.store.layouts import (
    LAYOUTS,
    LOCK,
    MANIFEST,
    MARK,
    STARTED,
    Layout,
    is_own,
    whole_name,
)
from conceptaudit.store.locks import exclusive, sharing
from conceptaudit.store.places import check_apart, output_path
from conceptaudit.store.removing import (
    contents_of,
    refuse_links,
    remove,
    remove_partials,
)

NEW, RESUME, OVERWRITE = "new", "resume", "overwrite"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """The folder of one run: nothing in it is anybody else's, or it is left alone."""

    path: Path  # where it is, or will be
    kind: str  # one of `LAYOUTS`
    digest: str  # of the run's inputs and settings; the same run goes on, another one is refused
    # what the run reads: may not overlap with the folder
    inputs: tuple[str | Path | None, ...] = ()
    shards: tuple[str, ...] = ()  # names of the shards that will have files here
    # what ``run.json`` says beside kind and digest
    about: Mapping[str, Json] = field(default_factory=dict)
    # of `RESUME` and `OVERWRITE`, those that the user of this verb has
    options: tuple[str, ...] = (RESUME, OVERWRITE)

    @classmethod
    def at(
        cls,
        out: str | Path,
        *,
        kind: str,
        digest: str,
        inputs: Iterable[str | Path | None] = (),
        shards: Iterable[str] = (),
        about: Mapping[str, Json] | None = None,
        options: tuple[str, ...] = (RESUME, OVERWRITE),
    ) -> RunFolder:
        """Name a run folder; see the class."""
        path = output_path(out)
        read = tuple(inputs)
        check_apart([path], read)
        return cls(
            path=path,
            kind=kind,
            digest=digest,
            inputs=read,
            shards=tuple(shards),
            about=about or {},
            options=options,
        )

    @property
    def layout(self) -> Layout:
        """The names of its files."""
        return LAYOUTS[self.kind]

    @contextmanager
    def hold(self, *, resume: bool = False, overwrite: bool = False) -> Iterator[str]:
        """Hold the folder for a run over everything; yield `NEW`, `RESUME` or `OVERWRITE`."""
        self.check(resume=resume, overwrite=overwrite)
        with exclusive(self.path):
            # again, under the lock: what another run has written meanwhile counts
            state = self.check(resume=resume, overwrite=overwrite)
            if state == OVERWRITE:
                self.clear()
            elif state == RESUME:
                self._tidy()
            self._begin()
            yield state
            self.forget_parts()

    @contextmanager
    def hold_part(self, part: str, *, resume: bool = False) -> Iterator[str]:
        """Hold a part of the run, ``"3-of-8"``, while other processes hold others."""
        self.check(resume=resume)
        with sharing(self.path, part):
            state = self.check(resume=resume)
            self._begin()
            yield state

    def check(self, *, resume: bool = False, overwrite: bool = False) -> str:
        """Decide what may happen to the folder, and touch nothing; see `hold`."""
        if resume and overwrite:
            raise ConfigError(
                "--resume keeps what is there and --overwrite removes it: choose one."
            )
        folder = self.path
        check_apart([folder], self.inputs)
        if folder.exists() and not folder.is_dir():
            raise ArtifactMismatchError(f"{folder} is a file; -o must name a folder.")
        try:
            names = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
        except OSError as error:
            raise DataError(f"Cannot read {folder}: {error.strerror or error}.") from error
        entries = [name for name in names if not _passing(name)]
        refuse_links(folder, self.layout)
        if not entries:
            return NEW
        held = identify(folder)
        if held is None:
            raise ArtifactMismatchError(
                f"{folder} holds files that are not {self.layout.noun} of conceptaudit (such as "
                f"{entries[0]!r}). Name a new or empty folder."
            )
        if held.kind != self.kind:
            raise ArtifactMismatchError(
                f"{folder} holds {LAYOUTS[held.kind].noun}, which {self.layout.noun} must not "
                "replace. Name another folder with -o."
            )
        if overwrite:
            return OVERWRITE
        if resume or held.digest == self.digest:
            return RESUME
        raise ArtifactMismatchError(
            f"{folder} holds {self.layout.noun} with other inputs or settings. "
            f"{self._advice()}ame another folder with -o."
        )

    def _advice(self) -> str:
        ways = {
            RESUME: "--resume to redo only what they change",
            OVERWRITE: "--overwrite to start over",
        }
        given = ", ".join(ways[option] for option in self.options)
        return f"Add {given}, or n" if given else "N"

    def _begin(self) -> None:
        """Say which run this is."""
        started = {
            **self.about,
            "kind": self.kind,
            "version": VERSION,
            "digest": self.digest,
            "shards": list(self.shards),
        }
        write_json(self.path / STARTED, started)

    def clear(self, *, whole: bool = False) -> None:
        """Remove the run that the folder holds; what is not of it stays, and is logged."""
        contents = contents_of(self.path, self.layout, self.shards)
        # with `whole` also what says which run it was, so that none seems to have begun
        kept = () if whole else (STARTED,)
        remove(self.path, [name for name in contents.own if name not in kept])
        remove_partials(self.path, contents)
        contents.warn(self.path)

    def discard(self) -> None:
        """Remove the run and its folder, where nothing else is in it; only for who holds it."""
        self.clear(whole=True)
        with suppress(OSError):
            (self.path / LOCK).unlink()
            self.path.rmdir()

    def _tidy(self) -> None:
        """Remove what killed runs left, and results of other inputs that shards do not vouch for.

        A run with other inputs or settings is unfinished from here on: its results go first and
        its manifest after them, so that none is ever taken for the new run's.
        """
        contents = contents_of(self.path, self.layout, self.shards)
        remove(self.path, contents.orphans)
        remove_partials(self.path, contents)
        said = [self.path / name for name in (STARTED, MANIFEST)]
        if any(one.exists() and digest_in(one) != self.digest for one in said):
            remove(self.path, [one for one in contents.fixed if one == MANIFEST or not is_own(one)])

    def forget_parts(self) -> None:
        """Remove what parts leave beside their results; only for who holds the whole folder."""
        if not self.path.is_dir():  # discarded
            return
        names = [p.name for p in self.path.iterdir() if p.name.startswith((MARK, f"{LOCK}-"))]
        remove(self.path, [name for name in names if is_own(name)])

    def finish(self, record: Mapping[str, Json], listed: Iterable[str] = ()) -> None:
        """Write the manifest, last, with the digest of every file of the run.

        Digests of files that a shard's record vouches for are taken from the record, which has
        been checked against them: the terabytes of a large run are not read once more.
        """
        contents = contents_of(self.path, self.layout, self.shards)
        files = {**contents.vouched, **contents.records}
        names = {one for one in contents.fixed if one == STARTED or not is_own(one)} | set(listed)
        files |= {name: file_digest(self.path / name) for name in names}
        write_json(
            self.path / MANIFEST,
            {
                **record,
                "kind": self.kind,
                "version": VERSION,
                "digest": self.digest,
                "files": dict(sorted(files.items())),
            },
        )


def replace_files(folder: Path, new: Mapping[str, Path], about: Mapping[str, Json]) -> None:
    """Replace files of a finished run, and its manifest with them.

    The manifest comes first and names what its files are about to replace. So whoever is killed
    in between leaves a run that no reader takes for the old or the new one, and can run again.
    """
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise DataError(f"{folder / MANIFEST} is damaged: it names no files.")
    old = {name: file_digest(folder / name) for name in new if (folder / name).exists()}
    digests = {name: file_digest(path) for name, path in new.items()}
    changed = {name: digest for name, digest in old.items() if digest != digests[name]}
    files = dict(sorted({**manifest["files"], **digests}.items()))
    whole = {**manifest, **about, "files": files}
    whole.pop(REPLACES, None)
    write_json(folder / MANIFEST, whole | ({REPLACES: changed} if changed else {}))
    for name, path in new.items():
        try:
            path.replace(folder / name)
        except OSError as error:
            raise DataError(f"Cannot write {folder / name}: {error.strerror or error}.") from error
    if changed:
        write_json(folder / MANIFEST, whole)


def _passing(name: str) -> bool:
    """Whether a file is a lock, a mark, a log or half-written, as parts of a run leave them."""
    return (is_own(name) and name not in (STARTED, MANIFEST)) or whole_name(name) is not None

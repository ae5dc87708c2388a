"""A result that is not the one its record was written for is refused by whoever reads it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from conceptaudit.artifacts import MANIFEST, digest_of, file_digest, read_json, write_json
from conceptaudit.auditing import correct, draw_sample
from conceptaudit.auditing.judged_run import read_judged
from conceptaudit.auditing.outputs import read_run_table
from conceptaudit.cli.main import main
from conceptaudit.curves import Curve
from conceptaudit.errors import DataError
from conceptaudit.frequency.readers import read_frequencies
from conceptaudit.frequency.sides import read_side
from conceptaudit.longtail.review import read_review
from conceptaudit.report.inputs import read_predictions, read_run
from conceptaudit.store.checking import check_written
from conceptaudit.store.outputs import output_files, staged
from conceptaudit.vocabulary import read_concepts
from conceptaudit.zeroshot.readers import read_accuracies

from .verbs import tree

Reader = Callable[[Path], object]
NUMBERS = "concept,n_text,accuracy,low,high,n_correct,n_images,model,dataset\n"
RESULTS: dict[str, tuple[str, Reader]] = {
    "predictions": (NUMBERS + "dog,3,.5,.4,.6,5,10,m,d\n", read_predictions),
    "comparison": (NUMBERS + "dog,3,.5,.4,.6,5,10,m,d\n", read_frequencies),
    "accuracies": (NUMBERS + "dog,3,.5,.4,.6,5,10,m,d\n", read_accuracies),
}
"""Kinds of single outputs that are results: their text and who reads such a file."""

LISTS: dict[str, tuple[str, Reader]] = {
    "concepts": ("dog\ncat\n", read_concepts),
    "vocab": ("concept,n_text\ndog,3\n", read_concepts),
    "judge": ("key,concept,present\nk,dog,1\n", lambda path: read_judged(path, ["dog"])),
    "review": ("id,concept,verdict\ni,dog,right\n", lambda path: read_review(path, ["dog"])),
}
"""Kinds that a user fills in or shortens."""

FILES: dict[str, tuple[str, Reader]] = {
    "frequencies.parquet": ("audited", read_frequencies),
    "concepts.json": ("audited", read_run),
    "alignment.json": ("audited", read_run),
    "evidence.parquet": ("audited", lambda run: read_run_table(run, "evidence", "dog")),
    "image_cells.parquet": ("audited", lambda run: draw_sample(run, budget=1)),
    "curve.json": ("curve", Curve.load),
    "fit.csv": ("curve", Curve.load),
    "accuracies.parquet": ("evaluated", read_accuracies),
}
"""Files of run folders: the run and who reads it."""


def write(path: Path, kind: str, text: str) -> None:
    with staged(output_files(kind, [path])) as files:
        files[path].write_text(text)


def make_stale(path: Path, kind: str, text: str) -> None:
    """Leave what a command leaves that is killed between the record and the file."""
    write(path, kind, text)
    record = path.with_name(f"{path.name}.json")
    other = digest_of("the new one")
    write_json(record, {**read_json(record), "sha256": other, "replaces": file_digest(path)})


@pytest.mark.parametrize("kind", [*RESULTS, *LISTS])
def test_a_file_of_another_run_than_its_record_is_refused(tmp_path: Path, kind: str) -> None:
    text, read = (RESULTS | LISTS)[kind]
    path = tmp_path / ("list.txt" if kind == "concepts" else "table.csv")
    write(path, kind, text)
    read(path)
    make_stale(path, kind, text)
    with pytest.raises(DataError, match="that was to replace it was stopped: run it again"):
        read(path)


@pytest.mark.parametrize("kind", list(RESULTS))
def test_a_result_that_was_changed_is_refused(tmp_path: Path, kind: str) -> None:
    text, read = RESULTS[kind]
    path = tmp_path / "table.csv"
    write(path, kind, text)
    path.write_text(text.replace("3", "4"))
    with pytest.raises(DataError, match="or remove the record where you changed the file"):
        read(path)
    path.with_name("table.csv.json").unlink()
    read(path)


@pytest.mark.parametrize("kind", list(LISTS))
def test_a_list_may_be_edited(tmp_path: Path, kind: str) -> None:
    text, read = LISTS[kind]
    path = tmp_path / ("list.txt" if kind == "concepts" else "table.csv")
    write(path, kind, text)
    path.write_text(text + "\n")
    read(path)


def test_a_file_beside_a_record_of_anybodys_is_read(tmp_path: Path) -> None:
    text, read = RESULTS["predictions"]
    (tmp_path / "table.csv").write_text(text)
    (tmp_path / "table.csv.json").write_text('{"sha256": "mine", "version": 1}')
    read(tmp_path / "table.csv")


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An audit with evidence, a curve and an evaluation; each test changes a copy of one file."""
    folder = tmp_path_factory.mktemp("runs")
    shutil.copytree(data / "audited", folder / "audited")
    shutil.copytree(data / "curve", folder / "curve")
    out = str(folder / "evaluated")
    assert main(["evaluate", str(data / "testset"), "--clip", "lab", "-o", out]) == 0
    return folder


@pytest.mark.parametrize("name", list(FILES))
def test_a_file_of_a_run_that_was_changed_is_refused(runs: Path, tmp_path: Path, name: str) -> None:
    run, read = FILES[name]
    folder = shutil.copytree(runs / run, tmp_path / "run")
    if not (folder / name).exists():
        files = {**read_json(folder / MANIFEST)["files"], name: digest_of("of it")}
        write_json(folder / MANIFEST, {**read_json(folder / MANIFEST), "files": files})
    with (folder / name).open("ab") as stream:
        stream.write(b"\n")
    with pytest.raises(DataError, match=f"{name} is not the file that manifest.json"):
        read(folder)


def test_a_run_without_a_manifest_is_not_read(runs: Path, tmp_path: Path) -> None:
    for run, read in (("audited", read_frequencies), ("evaluated", read_accuracies)):
        folder = shutil.copytree(runs / run, tmp_path / run)
        (folder / MANIFEST).unlink()
        with pytest.raises(DataError, match="not finished"):
            read(folder)


def test_comparing_reads_no_changed_counts(runs: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(runs / "audited", tmp_path / "run")
    read_side(folder, "a", [])
    with (folder / "frequencies.parquet").open("ab") as stream:
        stream.write(b"\n")
    with pytest.raises(DataError, match="is not the file"):
        read_side(folder, "a", [])


def judgements(run: Path, path: Path) -> Path:
    table, _ = draw_sample(run, budget=4, concepts=["dog"])
    table.assign(present=[row % 2 for row in range(len(table))]).to_csv(path, index=False)
    return path


def refusal(run: Path, names: set[str]) -> str:
    """Why a reader of these files refuses one, or nothing."""
    try:
        for name in names:
            check_written(run / name)
    except DataError as error:
        return str(error)
    return ""


def test_correct_may_be_killed_at_any_moment(runs: Path, tmp_path: Path) -> None:
    judged = judgements(runs / "audited", tmp_path / "judge.csv")
    calm = shutil.copytree(runs / "audited", tmp_path / "calm")
    before = tree(calm)
    correct(calm, judged)
    expected = tree(calm)
    changed = {name for name in expected if before.get(name) != expected[name]}
    assert changed == {"frequencies.csv", "frequencies.parquet", MANIFEST}
    moment, refused = 0, 0
    while True:
        moment += 1
        run = shutil.copytree(runs / "audited", tmp_path / f"run-{moment}")
        if not _killed(run, judged, moment):
            break
        held, said = tree(run), refusal(run, changed)
        if said:
            assert "run it again" in said
            refused += 1
        else:  # nothing has been replaced yet, or everything
            assert len({held[name] == expected[name] for name in changed - {MANIFEST}}) == 1
        correct(run, judged)
        assert tree(run) == expected
    assert tree(run) == expected
    assert moment > 5
    assert refused >= 2


def _killed(run: Path, judged: Path, moment: int) -> bool:
    """Correct a run in a process that dies before it puts its n-th file into place."""
    process = os.fork()
    if not process:
        replace, left = Path.replace, moment

        def dying(path: Path, target: Path) -> Path:
            nonlocal left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return replace(path, target)

        Path.replace = dying  # type: ignore[method-assign] -- in this process alone
        code = 1
        try:
            correct(run, judged)
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert code in (0, -signal.SIGKILL)
    return code != 0

"""Who may ask, what is answered, and that nothing is changed or let out."""

import hashlib
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from conceptaudit.auditing import audit
from conceptaudit.errors import ConceptAuditError
from conceptaudit.explore import ExploreOptions, Server


def digest(folder: Path) -> str:
    parts = [
        (str(p.relative_to(folder)), p.read_bytes())
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


class TestWhoMayAsk:
    def test_only_the_token_opens(self, server, ask) -> None:
        root = f"http://{urlsplit(server.address).netloc}"
        for address in (root, f"{root}/", f"{root}/r/run/", f"{server.address[:-5]}/r/run/"):
            answer = ask(address)
            assert answer.status == 403
            assert "token" in answer.text
        assert ask(server.address).status == 200
        assert len(urlsplit(server.address).path) > 30

    def test_another_host_name_is_refused(self, server, ask) -> None:
        port = urlsplit(server.address).port
        assert ask(server.address, host=f"evil.example:{port}").status == 421
        assert ask(server.address, host=f"localhost:{port}").status == 200
        assert ask(server.address, host="127.0.0.1:1").status == 421

    def test_forms_of_other_sites_are_refused(self, server, ask) -> None:
        form = b"run=run&sample=0&do=take"
        place = f"{server.address}selection"
        assert ask(place, data=form, origin="http://evil.example").status == 403
        assert ask(place, data=form, origin="null").status == 403
        assert ask(f"{server.address}r/run/concepts", data=b"x=1").status == 405
        assert ask(place, data=b"x" * 70_000).status == 413

    def test_it_listens_on_this_machine_alone(self, server) -> None:
        assert server._socket.getsockname()[0] == "127.0.0.1"

    @pytest.mark.parametrize(
        "place", ["", "r/run/concepts", "static/report.js", "r/run/image/0", "nothing"]
    )
    def test_every_answer_has_the_policy(self, server, ask, place: str) -> None:
        headers = ask(server.address + place).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"


class TestWhatIsAnswered:
    PLACES = (
        "r/run/", "r/run/concepts", "r/run/concepts?q=script&kind=animal&tier=head&sort=agree",
        "r/run/concepts?page=99999999999&min=nan&max=1e999&of=concept&sort=__class__&cols=x",
        "r/run/concept/0", "r/run/concept/4", "r/run/concept/0?view=none&page=-1&low=x&high=nan",
        "r/run/concept/0/samples?view=shown&order=high", "r/run/concept/0/together",
        "r/run/concept/0/sources", "r/run/concept/0/curve", "r/run/named?concept=dog",
        "r/run/sample/0", "compare", "compare?a=run&b=nothing", "judge", "selection",
    )  # fmt: skip

    @pytest.mark.parametrize("place", PLACES)
    def test_pages_escape_what_strangers_wrote(self, server, ask, audited, place: str) -> None:
        answer = ask(server.address + place)
        assert answer.status in (200, 400), answer.text
        for text in ("<script>alert", "<img src=x", "\u202e", "</script><img"):
            assert text not in answer.text

    def test_what_is_not_there_is_said(self, server, ask) -> None:
        for place in (
            "r/other/", "r/run/concept/99", "r/run/sample/123456", "r/run/nothing", "judge/0",
            "set", "set/image/0", "set/class/0", "static/../app.py", "static/%2e%2e/app.py",
            "static/..%2f..%2fpyproject.toml", "selection.exe", "r/..%2f..%2fetc/",
        ):  # fmt: skip
            assert ask(server.address + place).status == 404, place

    def test_an_image_is_encoded_anew_and_a_broken_one_is_missing(
        self, server, ask, audited
    ) -> None:
        good = ask(f"{server.address}r/run/image/0")
        assert good.headers["content-type"] == "image/webp"
        assert good.data[8:12] == b"WEBP"
        assert ask(f"{server.address}r/run/image/5").status == 404  # no image in the data
        assert ask(f"{server.address}r/run/image/{1 << 50}").status == 404

    def test_the_selection_leaves_as_files(self, audited, serve, ask) -> None:
        server = serve(audited.run)
        for sample in (0, 2):
            form = f"run=run&sample={sample}&do=take".encode()
            assert ask(f"{server.address}selection", data=form).status == 200
        assert ask(f"{server.address}selection.txt").text.splitlines() == [
            audited.table["key"][0], audited.table["key"][2],
        ]  # fmt: skip
        table = ask(f"{server.address}selection.csv").text
        assert table.startswith("run,sample_id,key,caption,url,license,why\n")
        assert ask(f"{server.address}selection.png").data.startswith(b"\x89PNG")
        ask(f"{server.address}selection", data=b"do=clear")
        assert ask(f"{server.address}selection.txt").text == ""

    def test_the_list_as_csv_is_what_the_filter_shows(self, server, ask) -> None:
        lines = ask(f"{server.address}r/run/concepts.csv?q=c").text.splitlines()
        assert lines[0].startswith("concept,")
        assert [line.split(",")[0] for line in lines[1:] if not line.startswith('"')][:1] == ["cat"]


class TestWhatIsLeftAlone:
    def test_looking_changes_nothing(self, audited, serve, ask) -> None:
        before = digest(audited.run), digest(audited.data)
        server = serve(audited.run)
        for place in TestWhatIsAnswered.PLACES:
            ask(server.address + place)
        assert (digest(audited.run), digest(audited.data)) == before

    def test_a_run_deleted_underneath_is_said(self, copied: Path, serve, ask) -> None:
        server = serve(copied)
        assert ask(f"{server.address}r/run/concept/0").status == 200
        shutil.rmtree(copied)
        for place in ("r/run/", "r/run/concept/1", "r/run/concepts"):
            answer = ask(server.address + place)
            assert answer.status == 410
            assert "not there any more" in answer.text

    def test_a_dataset_deleted_underneath_leaves_captions_out(
        self, audited, tmp_path, serve, ask
    ) -> None:
        data = shutil.copytree(audited.data, tmp_path / "data")
        server = serve(audited.run, dataset=str(data))
        shutil.rmtree(data)
        page = ask(f"{server.address}r/run/concept/0")
        assert page.status == 200
        assert "no longer in the dataset" in page.text
        assert ask(f"{server.address}r/run/image/0").status == 404

    def test_two_servers_show_one_run(self, audited, serve, ask) -> None:
        for server in (serve(audited.run), serve(audited.run)):
            assert ask(f"{server.address}r/run/concept/0").status == 200


class TestWithLess:
    def test_captions_alone_in_memory(self, tmp_path: Path, serve, ask) -> None:
        audit(["a dog", "two dogs and a cat", None], ["dog", "cat"], tmp_path / "text")
        server = serve(tmp_path / "text")
        page = ask(f"{server.address}r/text/concept/0")
        assert page.status == 200
        assert "audited in memory" in page.text
        assert "a <mark>dog</mark>" in page.text  # from the evidence
        assert ask(f"{server.address}r/text/").status == 200
        assert ask(f"{server.address}r/text/concepts").status == 200

    def test_several_runs_have_names_of_their_own(self, audited, copied, serve, ask) -> None:
        server = serve(audited.run, copied)
        assert server.session.slugs == ["run", "run-2"]
        assert "In other runs" in ask(f"{server.address}r/run-2/concept/0").text
        assert ask(f"{server.address}compare?a=run&b=run-2").status == 200

    def test_wrong_paths_are_said_at_once(self, audited, tmp_path: Path) -> None:
        for options in (
            {"runs": (tmp_path,)},
            {"runs": (audited.run,), "dataset": str(tmp_path / "nothing")},
            {"runs": (audited.run,), "curve": str(tmp_path / "nothing")},
            {"runs": (audited.run,), "judge": (tmp_path / "nothing.csv",)},
        ):
            with pytest.raises(ConceptAuditError):
                Server.listen(ExploreOptions(**options))

"""The explorer in a real browser: safe whatever data say, by keyboard, at a phone's width."""

from pathlib import Path
from typing import Any

import pytest

from conceptaudit.auditing import draw_sample

PLACES = (
    "r/run/", "r/run/concepts", "r/run/concept/0", "r/run/concept/4", "r/run/sample/0", "compare",
    "judge", "selection",
)  # fmt: skip


class Watched:
    """A page, and what it did that it should not."""

    def __init__(self, browser: Any, width: int = 1200, **options: Any) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 800}, **options)
        self.faults: list[str] = []
        self.page.on("dialog", lambda dialog: (self.faults.append("dialog"), dialog.accept()))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", self._request)
        self.page.on("console", self._console)

    def _request(self, request: Any) -> None:
        if not request.url.startswith("http://127.0.0.1:"):
            self.faults.append(request.url)

    def _console(self, message: Any) -> None:
        # an image that is not there is told by the page itself
        if message.type == "error" and "404" not in message.text:
            self.faults.append(message.text)


@pytest.mark.parametrize(("width", "scheme"), [(380, "dark"), (900, "light"), (1440, "light")])
def test_no_text_of_strangers_acts(chromium, server, width: int, scheme: str) -> None:
    watched = Watched(chromium, width, color_scheme=scheme)
    page = watched.page
    for place in PLACES:
        page.goto(server.address + place)
        page.wait_for_load_state("networkidle")
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{place} is {wide} pixels wider than the screen"
        assert page.locator("main script:not([type='application/json']), main iframe").count() == 0
        assert page.locator("main img:not([data-image])").count() == 0
        unnamed = "a, button, input:not([type=hidden]), select, img, progress, svg[role=img]"
        for element in page.locator(f"main :is({unnamed})").all()[:120]:
            name = element.evaluate(
                "e => e.ariaLabel || e.alt || e.innerText || e.value || "
                "e.querySelector('img')?.alt || "
                "(e.labels && e.labels.length ? e.labels[0].innerText : '')"
            )
            assert str(name).strip(), element.evaluate("e => e.outerHTML")
    assert watched.faults == []
    page.close()


def test_an_image_that_is_not_there_says_so(chromium, server) -> None:
    page = Watched(chromium).page
    page.goto(f"{server.address}r/run/sample/5")
    page.wait_for_selector(".frame.lost")
    page.close()


def test_filters_marks_and_pages_work_by_keyboard(chromium, server) -> None:
    watched = Watched(chromium)
    page = watched.page
    page.goto(f"{server.address}r/run/concepts")
    page.focus("input[name=q]")
    page.keyboard.type("bird")
    page.wait_for_function("() => document.querySelectorAll('#list tbody tr').length === 1")
    assert "q=bird" in page.url  # so that the view can be sent
    page.keyboard.press("Escape")
    page.locator("#list tbody a").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/concept/2*")
    assert page.inner_text("h1") == "bird"
    page.goto(f"{server.address}r/run/")
    page.focus("#frequency")
    page.keyboard.press("Home")
    assert page.inner_text("output.tip") != ""
    page.keyboard.press("Enter")
    page.wait_for_url("**/concept/*")
    page.locator(".take button").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".take button[aria-pressed=true]")
    assert watched.faults == []
    page.close()


def test_two_people_judge_in_two_browsers(chromium, audited, serve, tmp_path: Path) -> None:
    table, _ = draw_sample(audited.run, budget=12, concepts=["dog"])
    table.to_csv(tmp_path / "judge.csv", index=False)
    server = serve(audited.run, judge=(tmp_path / "judge.csv",))
    both = [Watched(chromium), Watched(chromium)]
    for watched, name in zip(both, ("ann", "bob"), strict=True):
        watched.page.goto(f"{server.address}judge/0?by={name}")
    for turn in range(12):
        page = both[turn % 2].page
        asked = page.get_attribute("#question input[name=question]", "value")
        page.keyboard.press("yn"[turn % 2])
        page.wait_for_function(
            "old => document.querySelector('#question input[name=question]')?.value !== old",
            arg=asked,
        )
    page = both[1].page
    page.goto(f"{server.address}judge/0?by=bob")
    assert "All 12 are answered" in page.inner_text("#question")
    page.keyboard.press("z")
    page.wait_for_function("() => document.querySelector('#question h1').innerText.includes('dog')")
    assert "11 of 12" in page.text_content("#question .kind")
    assert [watched.faults for watched in both] == [[], []]
    for watched in both:
        watched.page.close()


def test_a_server_that_stopped_is_said(chromium, audited, serve) -> None:
    server = serve(audited.run)
    page = Watched(chromium).page
    page.goto(f"{server.address}r/run/concepts")
    server.stop()
    page.locator("#list thead a").first.click()
    page.wait_for_selector(".fault.offline")
    page.close()

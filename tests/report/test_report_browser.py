"""The report in a real browser, on a dataset whose captions and names attack it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from conceptaudit.report import write_report

ROWS = "[...document.querySelectorAll('#concept-rows th')].map(cell => cell.textContent)"
SORTED = "[...document.querySelectorAll('#concept-table [aria-sort]')].map(h => h.textContent)"


@pytest.fixture(scope="module")
def report(hostile: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "report.html"
    return write_report(out, run=hostile[1], dataset=hostile[0], title="<script>alert(0)</script>")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_is_safe_and_works(
    browser, report: Path, width: int, dark: bool, tmp_path: Path
) -> None:
    page = browser.page(width=width, dark=dark)
    page.open(f"{report.as_uri()}#q=filler&sort=concept&dir=desc")

    # what the address asks for is what is shown
    assert page.evaluate(ROWS)[:2] == ["filler 119", "filler 118"]
    assert page.evaluate("document.getElementById('q').value") == "filler"
    assert page.evaluate("document.getElementById('page-now').textContent") == "page 1 of 3"

    # search, as typed
    page.evaluate(
        "(() => { const q = document.getElementById('q'); q.value = 'SCRIPT';"
        "q.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    assert sorted(page.evaluate(ROWS)) == [
        "</script /><!--<script / x",
        "<script>alert(1)</script>",
    ]
    assert page.evaluate("location.hash").startswith("#q=SCRIPT")

    # sort, by keyboard: a focused header button and Enter
    page.evaluate("document.querySelector('[data-sort=n_image]').focus()")
    for kind in ("keyDown", "keyUp"):
        page.call(
            "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r",
            windowsVirtualKeyCode=13,
        )  # fmt: skip
    assert page.evaluate(SORTED) == ["images"]
    page.evaluate("location.hash = '#sort=n_text'")
    wait = "new Promise(done => setTimeout(done, 50))"
    page.evaluate(wait)
    assert page.evaluate(ROWS)[0] == "dog"
    page.evaluate("document.getElementById('page-on').click()")
    assert page.evaluate("document.getElementById('page-now').textContent") == "page 2 of 3"
    page.evaluate("location.hash = '#only=never_n_text&q=b'")
    page.evaluate(wait)
    assert "bird" not in page.evaluate(ROWS)
    assert page.evaluate(ROWS) == ["zebra"]

    # a chart tells by arrow key which concept is where
    page.evaluate(
        "(() => { const stage = document.getElementById('frequency'); stage.focus();"
        "stage.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'})); })()"
    )
    assert "dog" in page.evaluate("document.querySelector('#frequency .tip').textContent")
    shown = page.evaluate(
        "[...document.querySelectorAll('#frequency svg')].filter(s => s.getClientRects().length)"
        ".map(s => s.getAttribute('class'))"
    )
    assert shown == ["narrow" if width == 390 else "wide"]

    # nothing is wider than the screen, every picture was decoded
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(
        "Promise.all([...document.images].map(i => (i.loading = 'eager', i.decode())))"
        ".then(all => all.length)"
    )

    # the reader's light or dark setting is followed
    page.screenshot(tmp_path / "page.png")
    corner = Image.open(tmp_path / "page.png").convert("L").getpixel((2, 2))
    assert (corner < 60) is dark

    # no script of a stranger ran, nothing was fetched, nothing was complained about
    ours = "s.type === 'application/json' || s === document.body.lastElementChild"
    assert page.evaluate(f"[...document.scripts].every(s => {ours})")
    assert page.seen("Page.javascriptDialogOpening") == []
    assert page.seen("Runtime.exceptionThrown") == []
    assert page.seen("Runtime.consoleAPICalled") == []
    assert page.seen("Log.entryAdded") == []
    asked = [event["request"]["url"] for event in page.seen("Network.requestWillBeSent")]
    assert [url[:60] for url in asked if not url.startswith(("file:", "data:", "about:"))] == []
    assert sum(url.startswith("file:") for url in asked) == 1, json.dumps(asked)[:500]


@pytest.mark.parametrize("width", [390, 1200])
def test_more_columns_on_demand_and_in_the_address(browser, report: Path, width: int) -> None:
    page = browser.page(width=width)
    page.open(report.as_uri())
    extra = "[...document.querySelectorAll('#concept-table .extra')]"
    seen = f"{extra}.filter(cell => cell.getClientRects().length).length"
    assert page.evaluate(f"{extra}.length") > 0
    assert page.evaluate(seen) == 0
    page.evaluate("document.getElementById('all-columns').click()")
    assert page.evaluate(seen) == page.evaluate(f"{extra}.length")
    assert "columns=all" in page.evaluate("location.hash")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.evaluate("document.querySelector('[data-sort=n_senses]').click()")
    assert page.evaluate(SORTED) == ["meanings"]
    page.evaluate("location.hash = '#only=never_n_text&q=b'")
    page.evaluate("new Promise(done => setTimeout(done, 50))")
    assert page.evaluate(seen) == 0
    assert page.seen("Runtime.exceptionThrown") == []


def test_without_scripts_the_page_is_still_readable(browser, report: Path) -> None:
    page = browser.page()
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.call("Page.navigate", url=report.as_uri())
    page.wait_for("Page.loadEventFired")
    root = page.call("DOM.getDocument", depth=-1)["root"]
    text = page.call("DOM.getOuterHTML", nodeId=root["nodeId"])["outerHTML"]
    assert text.count('scope="row"') >= 50
    assert "without scripts the first 50 are shown" in text
    assert 'id="controls" hidden' in text

"""The README's picture of the explorer: a concept of the demo, as Chromium shows it.

    conceptaudit demo -o demo
    python scripts/make_screenshot.py demo docs/explorer.png

Needs playwright and Debian's Chromium. The demo's images are simulated, so that nobody's
photograph is in the picture.
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from conceptaudit.explore import ExploreOptions, Server

SIZE = {"width": 1280, "height": 1240}
CONCEPT = "tree"


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo", type=Path)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    options = ExploreOptions(
        runs=(asked.demo / "audit",),
        dataset=str(asked.demo / "data"),
        curve=str(asked.demo / "curve"),
        longtail=str(asked.demo / "longtail"),
    )
    server = Server.listen(options).start()
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(
                executable_path=shutil.which("chromium"),
                args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
            )
            page = browser.new_page(viewport=SIZE)
            page.goto(f"{server.address}r/audit/named?concept={CONCEPT}")
            page.wait_for_load_state("networkidle")
            picture = Image.open(io.BytesIO(page.screenshot()))
            picture.convert("RGB").quantize(128).save(asked.out, optimize=True)
            browser.close()
    finally:
        server.stop()


if __name__ == "__main__":
    main()

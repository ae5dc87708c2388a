"""Samples that were picked by hand: kept while the server runs, shown, and taken away as files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from conceptaudit.artifacts import csv_bytes
from conceptaudit.explore import samples as shown_samples
from conceptaudit.explore.views import NotThereError, Site, download, is_partial

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

SHEET_COLUMNS = 8
MOST_ON_SHEET = 400


class SelectionPages(Site):
    """Take samples, put them back, look at them, take them away."""

    def routes(self) -> list[Route]:
        """List the addresses."""
        from starlette.routing import Route

        return [
            Route("/selection", self.show, methods=["GET"]),
            Route("/selection", self.change, methods=["POST"]),
            Route("/selection.{kind}", self.leave),
        ]

    def show(self, request: Request) -> Response:
        """Show what is selected."""
        groups = []
        for slug, taken in self.session.selection.by_run().items():
            opened = self.session.opened(slug)
            if opened is not None:
                ids = [sample for sample, _ in taken[:200]]
                cards = shown_samples.cards(opened.run, opened.media, ids, None)
                groups.append((opened.run, opened.media, len(taken), cards))
        return self.page(request, "selection.html", groups=groups)

    async def change(self, request: Request) -> Response:
        """Take a sample or put it back."""
        from starlette.responses import RedirectResponse

        form = await read_form(request)
        slug, what = form.get("run", ""), form.get("do", "")
        if what == "clear":
            self.session.selection.clear()
            return RedirectResponse(f"{request.scope['root_path']}/selection", status_code=303)
        opened = self.session.opened(slug)
        text = form.get("sample", "")
        if opened is None or not text.isdecimal() or len(text) > 19:
            raise NotThereError("There is no such sample.")
        sample = int(text)
        if what == "drop":
            self.session.selection.drop(slug, sample)
        else:
            self.session.selection.take(slug, [sample])
        if is_partial(request):
            return self.page(request, "_take.html", run=opened.run, sample=sample)
        back = form.get("back") or f"/r/{slug}/sample/{sample}"
        return RedirectResponse(f"{request.scope['root_path']}{back}", status_code=303)

    def leave(self, request: Request) -> Response:
        """Send the selection as a list of keys, a CSV, or a contact sheet."""
        kind = request.path_params["kind"]
        rows = self._rows()
        if kind == "txt":
            text = "".join(f"{row['key']}\n" for row in rows)
            return download(text.encode(), "text/plain; charset=utf-8", "keep-list.txt")
        if kind == "csv":
            import pandas as pd

            columns = ["run", "sample_id", "key", "caption", "url", "license", "why"]
            return download(
                csv_bytes(pd.DataFrame(rows, columns=columns)),
                "text/csv; charset=utf-8",
                "selection.csv",
            )
        if kind == "png":
            return download(self._sheet(), "image/png", "contact-sheet.png")
        raise NotThereError(f"A selection leaves as .txt, .csv or .png, not as .{kind}.")

    def _rows(self) -> list[dict[str, Any]]:
        rows = []
        for slug, taken in self.session.selection.by_run().items():
            opened = self.session.opened(slug)
            if opened is None:
                continue
            cards = shown_samples.cards(opened.run, opened.media, [s for s, _ in taken], None)
            rows += [
                {
                    "run": slug,
                    "sample_id": card.id,
                    "key": card.key,
                    "caption": card.caption or "",
                    "url": card.url,
                    "license": card.license,
                    "why": why,
                }
                for card, (_, why) in zip(cards, taken, strict=True)
            ]
        return rows

    def _sheet(self) -> bytes:
        from PIL import Image

        side, gap = 160, 8
        small: list[Image.Image] = []
        for slug, taken in self.session.selection.by_run().items():
            opened = self.session.opened(slug)
            for sample, _ in taken if opened is not None else ():
                data = opened.media.picture(sample) if opened is not None else None
                if data is not None and len(small) < MOST_ON_SHEET:
                    picture: Image.Image = Image.open(io.BytesIO(data))
                    picture.thumbnail((side, side))
                    small.append(picture)
        rows = max(1, -(-len(small) // SHEET_COLUMNS))
        columns = max(1, min(len(small), SHEET_COLUMNS))
        size = (columns * (side + gap) + gap, rows * (side + gap) + gap)
        sheet = Image.new("RGB", size, (255, 255, 255))
        for place, picture in enumerate(small):
            row, column = divmod(place, SHEET_COLUMNS)
            left = gap + column * (side + gap) + (side - picture.width) // 2
            sheet.paste(picture, (left, gap + row * (side + gap) + (side - picture.height) // 2))
        stream = io.BytesIO()
        sheet.save(stream, "PNG")
        return stream.getvalue()


async def read_form(request: Request) -> dict[str, str]:
    """Read a form as browsers send it; the last value of a field counts."""
    body = await request.body()
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=50)
    return {name: values[-1] for name, values in fields.items()}

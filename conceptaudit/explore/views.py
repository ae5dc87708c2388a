"""Pages of runs: overview, the list of concepts, a concept, a sample."""

from __future__ import annotations

from functools import partial
from importlib import metadata, resources
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import numpy as np

from conceptaudit.errors import DataError
from conceptaudit.explore import concepts as listing
from conceptaudit.explore import samples as shown_samples
from conceptaudit.explore.concepts import ConceptQuery
from conceptaudit.explore.media import LARGE, SMALL
from conceptaudit.report.count_charts import frequency_chart
from conceptaudit.report.sections.overview import headline, overview
from conceptaudit.report.templating import render

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from conceptaudit.explore.media import Media
    from conceptaudit.explore.opened import OpenRun
    from conceptaudit.explore.session import Session

OWN_FILES = {
    "report.css": ("conceptaudit.report", "assets", "text/css"),
    "report.js": ("conceptaudit.report", "assets", "text/javascript"),
    "explore.css": ("conceptaudit.explore", "static", "text/css"),
    "explore.js": ("conceptaudit.explore", "static", "text/javascript"),
    "icon.svg": ("conceptaudit.explore", "static", "image/svg+xml"),
    "htmx.min.js": ("conceptaudit.explore", "static", "text/javascript"),
}
"""The only files that are served as they are."""

KIND_EXAMPLES = ("person", "animal", "food", "vehicle", "clothing", "furniture", "plant", "tool")


class NotThereError(DataError):
    """An address that leads nowhere."""


class Site:
    """What all pages share: the session, and how a page is laid out."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.version = metadata.version("conceptaudit")

    def page(
        self, request: Request, template: str, *, status: int = 200, **context: Any
    ) -> Response:
        """Fill a template; a part of a page is asked for by htmx."""
        from starlette.responses import HTMLResponse

        root = request.scope["root_path"]
        shared = {
            "root": root,
            "session": self.session,
            "version": self.version,
            "run": None,
            "at": lambda run, place="": f"{root}/r/{quote(run.slug)}/{place}",
            "here": request.scope["path"].removeprefix(root),
            **context,
        }
        text = render(template, **shared)
        if template.startswith("_") and not is_partial(request):  # a part, asked for by itself
            text = render("part.html", **{**shared, "inner": text})
        return HTMLResponse(text, status_code=status)

    def error(self, request: Request, status: int, text: str) -> Response:
        """Say what is wrong on a page, or in the part of a page that was asked for."""
        return self.page(request, "_fault.html", status=status, message=text)

    def run(self, request: Request) -> tuple[OpenRun, Media]:
        """Return the run that an address names."""
        opened = self.session.opened(request.path_params["run"])
        if opened is None:
            raise NotThereError(f"No run is called {request.path_params['run']!r} here.")
        return opened.run, opened.media

    def concept(self, request: Request, run: OpenRun) -> int:
        """Return the id of the concept that an address names."""
        concept: int = request.path_params["concept"]
        if not 0 <= concept < len(run.record.concepts):
            raise NotThereError(f"{run.name} has no concept number {concept:,}.")
        return concept


def is_partial(request: Request) -> bool:
    """Whether htmx asks for a part of a page."""
    return request.headers.get("hx-request") == "true"


def download(text: bytes, kind: str, name: str) -> Response:
    """Send a file to be saved."""
    from starlette.responses import Response

    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in name)
    headers = {"content-disposition": f'attachment; filename="{safe}"'}
    return Response(text, media_type=kind, headers=headers)


class Pages(Site):
    """All pages of the explorer."""

    def routes(self) -> list[Route]:
        """List the addresses."""
        from starlette.routing import Route

        run = "/r/{run}"
        return [
            Route("/", self.front),
            Route(f"{run}/", self.overview),
            Route(f"{run}/concepts", self.concepts),
            Route(f"{run}/concepts.csv", self.concepts_csv),
            Route(f"{run}/named", self.named),
            Route(f"{run}/concept/{{concept:int}}", self.one_concept),
            Route(f"{run}/concept/{{concept:int}}/samples", self.samples),
            Route(f"{run}/concept/{{concept:int}}/together", self.together),
            Route(f"{run}/concept/{{concept:int}}/sources", self.sources),
            Route(f"{run}/concept/{{concept:int}}/curve", self.curve),
            Route(f"{run}/sample/{{sample:int}}", self.sample),
            Route(f"{run}/image/{{sample:int}}", self.image),
            Route(f"{run}/figure/{{name}}.{{kind}}", self.figure),
            Route("/static/{name}", self.own_file),
        ]

    def front(self, request: Request) -> Response:
        """Lead to the overview of the first run."""
        from starlette.responses import RedirectResponse

        first = self.session.runs[0]
        return RedirectResponse(f"{request.scope['root_path']}/r/{quote(first.slug)}/")

    def own_file(self, request: Request) -> Response:
        """Send one of our own style sheets or scripts."""
        from starlette.responses import Response

        name = request.path_params["name"]
        if name not in OWN_FILES:
            raise NotThereError(f"There is no file {name!r} here.")
        package, folder, kind = OWN_FILES[name]
        data = resources.files(package).joinpath(folder, name).read_bytes()
        headers = {"cache-control": "private, max-age=3600"}
        return Response(data, media_type=kind, headers=headers)

    def overview(self, request: Request) -> Response:
        """Show what was audited and the numbers to remember."""
        run, _ = self.run(request)
        counts = {
            tier: int((run.tiers == tier).sum()) for tier in ("head", "middle", "tail", "never")
        }
        return self.page(
            request,
            "overview.html",
            run=run,
            lead=headline(run.record, titled=False),
            overview=overview(run.record),
            chart=frequency_chart(run.record),
            tiers=counts,
            first=run.record.table.iloc[np.argsort(run.ranks)[:8]]["concept"]
            .astype("str")
            .tolist(),
        )

    def concepts(self, request: Request) -> Response:
        """Show the list of concepts, or its next page."""
        run, _ = self.run(request)
        query = ConceptQuery.of_address(dict(request.query_params))
        if "cols" not in request.query_params:
            chosen = [v for v in request.query_params.getlist("col") if v]
            query = ConceptQuery.of_address(
                {**dict(request.query_params), "cols": ",".join(chosen)}
            )
        fixed, more = listing.columns_of(run)
        return self.page(
            request,
            "_concept_table.html" if is_partial(request) else "concepts.html",
            run=run,
            query=query,
            page=listing.concept_page(run, query),
            fixed=fixed,
            more=more,
            kinds=KIND_EXAMPLES,
        )

    def concepts_csv(self, request: Request) -> Response:
        """Send the concepts that meet the conditions, with all columns."""
        from conceptaudit.artifacts import csv_bytes

        run, _ = self.run(request)
        table = listing.concepts_csv(run, ConceptQuery.of_address(dict(request.query_params)))
        return download(csv_bytes(table), "text/csv; charset=utf-8", f"{run.slug}-concepts.csv")

    def named(self, request: Request) -> Response:
        """Lead to a concept by its name, as the marks of figures do."""
        from starlette.responses import RedirectResponse

        run, _ = self.run(request)
        name = request.query_params.get("concept", "")
        root = f"{request.scope['root_path']}/r/{quote(run.slug)}"
        if name in run.ids:
            return RedirectResponse(f"{root}/concept/{run.ids[name]}")
        return RedirectResponse(f"{root}/concepts?{urlencode({'q': name})}")

    def one_concept(self, request: Request) -> Response:
        """Show one concept: its counts, what they rest on, its samples."""
        run, media = self.run(request)
        concept = self.concept(request, run)
        from conceptaudit.explore.concept_facts import facts_of

        return self.page(
            request,
            "concept.html",
            run=run,
            media=media,
            concept=concept,
            facts=facts_of(self.session, run, concept),
            **self._samples(request, run, media, concept),
        )

    def samples(self, request: Request) -> Response:
        """Show one page of a concept's samples."""
        run, media = self.run(request)
        concept = self.concept(request, run)
        return self.page(
            request,
            "_samples.html",
            run=run,
            media=media,
            concept=concept,
            **self._samples(request, run, media, concept),
        )

    def _samples(
        self, request: Request, run: OpenRun, media: Media, concept: int
    ) -> dict[str, Any]:
        tags = run.tags(concept)
        views = shown_samples.views_of(run, tags)
        asked = request.query_params
        view = asked.get("view", "")
        if view not in views:
            view = next((name for name, n in views.items() if n), next(iter(views)))
        order = asked.get("order", "") if asked.get("order") in shown_samples.ORDERS else ""
        low, high = (_score(asked.get(end)) for end in ("low", "high"))
        ids = shown_samples.chosen(run, tags, view, order=order, low=low, high=high)
        pages = max(1, -(-len(ids) // shown_samples.PER_PAGE))
        number = asked.get("page", "1")
        page = min(max(1, int(number) if number.isdecimal() and len(number) < 9 else 1), pages)
        part = ids[(page - 1) * shown_samples.PER_PAGE : page * shown_samples.PER_PAGE].tolist()
        root = f"{request.scope['root_path']}/r/{quote(run.slug)}/concept/{concept}"

        def address(place: str = "", **changes: Any) -> str:
            values = {"view": view, "order": order, "low": low, "high": high, "page": 1, **changes}
            known = {name: value for name, value in values.items() if value not in (None, "")}
            return f"{root}{place}?{urlencode(known)}"

        return {
            "address": address,
            "part": partial(address, "/samples"),
            "cards": shown_samples.cards(run, media, part, concept),
            "views": views,
            "view": view,
            "order": order,
            "low": low,
            "high": high,
            "n": len(ids),
            "page": page,
            "pages": pages,
            "histogram": shown_samples.histogram(tags),
            "view_names": shown_samples.VIEWS,
            "orders": shown_samples.ORDERS,
            "images": media.has_images,
        }

    def together(self, request: Request) -> Response:
        """Show what a concept occurs with."""
        run, _ = self.run(request)
        concept = self.concept(request, run)
        pairs = run.side_table("cooccurrence.parquet", "concept_a", run.record.concepts[concept])
        npmi = {} if pairs is None else dict(zip(pairs["concept_b"], pairs["npmi"], strict=True))
        partners = [
            (other, run.record.concepts[other], n, npmi.get(run.record.concepts[other]))
            for other, n in run.together(concept)
        ]
        return self.page(request, "_together.html", run=run, partners=partners)

    def sources(self, request: Request) -> Response:
        """Show hosts, licences and languages of a concept's samples."""
        from conceptaudit.explore.concept_facts import languages_of

        run, media = self.run(request)
        concept = self.concept(request, run)
        return self.page(
            request,
            "_sources.html",
            run=run,
            media=media,
            survey=shown_samples.survey(media, run.tags(concept)),
            languages=languages_of(run, concept),
        )

    def curve(self, request: Request) -> Response:
        """Show where a concept lies on the curve, and what is predicted for it."""
        from conceptaudit.explore.concept_facts import place_on_curve

        run, _ = self.run(request)
        concept = self.concept(request, run)
        figure, predictions = place_on_curve(self.session, run, run.record.concepts[concept])
        return self.page(request, "_curve.html", run=run, figure=figure, predictions=predictions)

    def sample(self, request: Request) -> Response:
        """Show one sample with everything that was found in it."""
        run, media = self.run(request)
        sample = request.path_params["sample"]
        if sample not in run.keys_of([sample]):
            raise NotThereError(f"{run.name} has no tags of a sample {sample}.")
        [card] = shown_samples.cards(run, media, [sample], None)
        copies = [s for s, g in run.copies.items() if g == run.copies.get(sample) and s != sample]
        return self.page(
            request,
            "sample.html",
            run=run,
            media=media,
            card=card,
            images=media.has_images,
            tags=run.tags_of([sample])[sample],
            copies=copies[:24],
        )

    def figure(self, request: Request) -> Response:
        """Send a figure of the page as a file."""
        import tempfile
        from pathlib import Path

        from conceptaudit.report.print_chart import FULL, write_chart

        run, _ = self.run(request)
        name, kind = request.path_params["name"], request.path_params["kind"]
        kinds = {"svg": "image/svg+xml", "pdf": "application/pdf", "png": "image/png"}
        if name != "frequency" or kind not in kinds:
            raise NotThereError(f"There is no figure {name}.{kind} here.")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"figure.{kind}"
            write_chart(frequency_chart(run.record), path, width=FULL)
            return download(path.read_bytes(), kinds[kind], f"{run.slug}-{name}.{kind}")

    def image(self, request: Request) -> Response:
        """Send a sample's image, encoded anew; 404 where it is gone (link rot)."""
        from starlette.responses import Response

        _, media = self.run(request)
        side = LARGE if request.query_params.get("size") == "large" else SMALL
        data = media.picture(request.path_params["sample"], side)
        if data is None:
            return Response(b"", status_code=404)
        headers = {"cache-control": "private, max-age=600"}
        return Response(data, media_type="image/webp", headers=headers)


def _score(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if np.isfinite(value) else None

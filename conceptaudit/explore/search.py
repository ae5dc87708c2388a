"""The page that searches images by words or by an image of the run."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conceptaudit.errors import ConfigError
from conceptaudit.explore import samples as shown_samples
from conceptaudit.explore.selecting import read_form
from conceptaudit.explore.views import NotThereError, Site

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from conceptaudit.image.clip import ClipModel
    from conceptaudit.image.index import VectorIndex
    from conceptaudit.image.index.search import Hit
    from conceptaudit.records import Float32Array

HITS = 48


class SearchPages(Site):
    """Search, and take what is found into the selection."""

    def __init__(self, session: Any) -> None:
        super().__init__(session)
        self._lock = threading.Lock()
        self._index: VectorIndex | None = None
        self._clip: ClipModel | None = None

    def routes(self) -> list[Route]:
        """List the addresses."""
        from starlette.routing import Route

        return [
            Route("/search", self.show, methods=["GET"]),
            Route("/search", self.take, methods=["POST"]),
        ]

    def show(self, request: Request) -> Response:
        """Show the hits of a search."""
        text = request.query_params.get("q", "").strip()[:300]
        like = request.query_params.get("like", "")
        hits = self._hits(text, like) if text or like else []
        run, media = self._run()
        cards = shown_samples.cards(run, media, [hit.sample_id for hit in hits], None)
        return self.page(
            request,
            "search.html",
            run=run,
            media=media,
            q=text,
            like=like,
            hits=list(zip(cards, hits, strict=True)),
            images=media.has_images,
            index=self._open(),
        )

    async def take(self, request: Request) -> Response:
        """Take all hits of a search into the selection."""
        from urllib.parse import urlencode

        from starlette.concurrency import run_in_threadpool
        from starlette.responses import RedirectResponse

        form = await read_form(request)
        text, like = form.get("q", "").strip()[:300], form.get("like", "")
        hits = await run_in_threadpool(self._hits, text, like) if text or like else []
        run, _ = self._run()
        why = f"search: {text}" if text else f"like {like}"
        self.session.selection.take(run.slug, [hit.sample_id for hit in hits], why)
        root = request.scope["root_path"]
        query = urlencode({"q": text} if text else {"like": like})
        return RedirectResponse(f"{root}/search?{query}", status_code=303)

    def _run(self) -> Any:
        opened = self.session.opened(self.session.slugs[0])
        if opened is None:
            raise NotThereError("There is no run.")
        return opened.run, opened.media

    def _open(self) -> VectorIndex:
        from conceptaudit.image.index import open_index

        if self.session.options.index is None:
            raise NotThereError("No index was named (--index).")
        with self._lock:
            if self._index is None:
                self._index = open_index(self.session.options.index)
            return self._index

    def _model(self, index: VectorIndex) -> ClipModel:
        from conceptaudit.image.clip import find_clip

        with self._lock:
            if self._clip is None:
                name = self.session.options.clip or index.manifest.get("clip")
                if not name:
                    raise ConfigError("The index does not name its model: name it with --clip.")
                clip = find_clip(str(name), device="cpu")
                index.check_model(clip)
                self._clip = clip
            return self._clip

    def _hits(self, text: str, like: str) -> list[Hit]:
        from conceptaudit.image.index.search import nearest_images

        index = self._open()
        vectors = self._model(index).encode_texts([text]) if text else self._of_image(index, like)
        _, media = self._run()
        hits = nearest_images(index, np.asarray(vectors, dtype=np.float32), HITS)[0]
        # an index of embeddings numbers its samples as they do, the run as its dataset does
        known = media.look([hit.sample_id for hit in hits])
        lost = [h.key for h in hits if h.sample_id not in known or known[h.sample_id].key != h.key]
        places = media.ids_of(lost)
        return [
            replace(hit, sample_id=places[hit.key]) if hit.key in places else hit
            for hit in hits
            if hit.key not in lost or hit.key in places
        ]

    def _of_image(self, index: VectorIndex, like: str) -> Float32Array:
        """Encode an image of the run anew."""
        from conceptaudit.image.decode import UndecodableImageError, decode_quietly

        _, media = self._run()
        data = media.original(int(like)) if like.isdecimal() and len(like) < 20 else None
        if data is None:
            raise NotThereError("There is no such image.")
        try:
            picture = decode_quietly(data)
        except UndecodableImageError as error:
            raise NotThereError(f"The image cannot be decoded: {error}.") from error
        return self._model(index).encode_images([picture])

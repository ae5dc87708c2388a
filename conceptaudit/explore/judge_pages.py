"""Pages for judging: one question at a time, with keys."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from conceptaudit.explore.answers import ANSWERS, UNDO
from conceptaudit.explore.queues import TEXT
from conceptaudit.explore.samples import marked
from conceptaudit.explore.selecting import read_form
from conceptaudit.explore.views import NotThereError, Site, is_partial

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from conceptaudit.explore.queues import Queue

LONGEST_NAME = 40


class JudgePages(Site):
    """The list of queues, a question, and what becomes of an answer."""

    def routes(self) -> list[Route]:
        """List the addresses."""
        from starlette.routing import Route

        return [
            Route("/judge", self.queues),
            Route("/judge/{queue:int}", self.ask, methods=["GET"]),
            Route("/judge/{queue:int}", self.answer, methods=["POST"]),
        ]

    def queues(self, request: Request) -> Response:
        """List the files of questions, or how to make one; of a single file ask at once."""
        from starlette.responses import RedirectResponse

        if len(self.session.queues) == 1:
            return RedirectResponse(f"{request.scope['root_path']}/judge/0")
        counts = [
            {
                "queue": queue,
                "n": len(queue.book.questions),
                "n_answered": len(queue.book.answers()),
                "n_disputed": queue.book.disputed(),
            }
            for queue in self.session.queues
        ]
        return self.page(request, "judge.html", queues=counts)

    def _queue(self, request: Request) -> tuple[int, Queue]:
        number: int = request.path_params["queue"]
        if not 0 <= number < len(self.session.queues):
            raise NotThereError("There is no such file of questions.")
        return number, self.session.queues[number]

    def ask(self, request: Request) -> Response:
        """Ask the next question."""
        from starlette.responses import RedirectResponse

        number, queue = self._queue(request)
        judge = request.query_params.get("by", "")[:LONGEST_NAME]
        if not judge:
            named = urlencode({"by": f"judge-{secrets.token_hex(3)}"})
            return RedirectResponse(f"{request.scope['root_path']}/judge/{number}?{named}")
        return self._question(request, number, queue, judge, "")

    async def answer(self, request: Request) -> Response:
        """Keep an answer, or take the last one back, and ask on."""
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import RedirectResponse

        number, queue = self._queue(request)
        form = await read_form(request)
        judge, answer = form.get("by", "")[:LONGEST_NAME] or "judge", form.get("answer", "")
        again = ""
        if answer == UNDO:
            last: str | None = await run_in_threadpool(queue.book.undo, judge)
            again = last or ""
        elif answer in ANSWERS:
            await run_in_threadpool(queue.book.answer, form.get("question", ""), answer, judge)
        else:
            raise NotThereError("An answer is yes, no or unsure.")
        if is_partial(request):
            return await run_in_threadpool(self._question, request, number, queue, judge, again)
        root = request.scope["root_path"]
        return RedirectResponse(
            f"{root}/judge/{number}?{urlencode({'by': judge})}", status_code=303
        )

    def _question(
        self, request: Request, number: int, queue: Queue, judge: str, again: str
    ) -> Response:
        book = queue.book
        question = book.question(again, judge) if again else book.next(judge)
        answers = book.answers()
        context: dict[str, Any] = {
            "number": number,
            "queue": queue,
            "judge": judge,
            "question": question,
            "n": len(book.questions),
            "n_answered": len(answers),
            "n_judges": book.judges(),
            "n_disputed": book.disputed(),
            "done": [],
        }
        if question is not None:
            row = queue.row(question)
            mine = [q for q in book.questions if q.concept == question.concept]
            context |= {
                "row": row,
                "estimate": queue.estimate(question.concept),
                "n_concept": len(mine),
                "n_concept_answered": sum(q.id in answers for q in mine),
                "image": self._image(request, queue, row),
                "pieces": self._pieces(queue, question.concept, str(row.get("caption", ""))),
            }
        else:
            names = dict.fromkeys(q.concept for q in book.questions)
            context["done"] = [(name, queue.estimate(name)) for name in list(names)[:200]]
        template = "_question.html" if is_partial(request) else "question.html"
        return self.page(request, template, run=queue.run, **context)

    def _image(self, request: Request, queue: Queue, row: dict[str, Any]) -> str:
        root = request.scope["root_path"]
        if queue.run is not None:
            if queue.kind == TEXT or row["sample"] is None:
                return ""
            return f"{root}/r/{queue.run.slug}/image/{row['sample']}?size=large"
        place = row.get("image_row")
        return "" if place is None else f"{root}/set/image/{place}?size=large"

    def _pieces(self, queue: Queue, concept: str, caption: str) -> list[tuple[str, bool]]:
        if not caption:
            return []
        phrases = (concept,) if queue.run is None else queue.run.phrases(queue.run.ids[concept])
        return marked(caption, phrases)

"""The server: which address shows what, and who may ask."""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from conceptaudit.errors import ConceptAuditError, ConfigError
from conceptaudit.explore.compare import ComparePages
from conceptaudit.explore.judge_pages import JudgePages
from conceptaudit.explore.opened import GoneError
from conceptaudit.explore.search import SearchPages
from conceptaudit.explore.selecting import SelectionPages
from conceptaudit.explore.tail import TailPages
from conceptaudit.explore.views import NotThereError, Pages

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from conceptaudit.explore.session import Session

_log = logging.getLogger(__name__)

POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors {frames}"
)
"""Nothing is fetched from anywhere else, and no text of a page is run, whatever a caption says."""

FRAMES = "http://localhost:* http://127.0.0.1:*"
"""Notebooks on this machine, which may show the page in a frame."""

HEADERS = {
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}

MOST_BODY = 1 << 16
"""Bytes of a form: a verdict has some hundred."""

PARTS = (SelectionPages, SearchPages, JudgePages, ComparePages, TailPages)
"""Pages beside those of runs."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Guard:
    """Lets through only who knows the token, under a host name that is ours."""

    def __init__(
        self, app: Callable[..., Any], *, token: str, hosts: frozenset[str], framed: bool
    ) -> None:
        self._app = app
        self._token = token.encode()
        self._hosts = hosts
        self._headers = [
            *((name.encode(), value.encode()) for name, value in HEADERS.items()),
            (
                b"content-security-policy",
                POLICY.format(frames=FRAMES if framed else "'none'").encode(),
            ),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await self._refuse(send, *refusal)
            return
        root = f"/{self._token.decode()}"
        inner = {**scope, "root_path": root}

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                names = {name for name, _ in self._headers}
                kept = [(n, v) for n, v in message["headers"] if n not in names]
                own = [(n, v) for n, v in message["headers"] if n == b"cache-control"]
                ours = [(n, v) for n, v in self._headers if not (own and n == b"cache-control")]
                message = {**message, "headers": [*kept, *ours, *own]}
            await send(message)

        await self._app(inner, receive, guarded)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if host not in self._hosts:
            return 421, "This server answers under the address that it printed, and no other."
        first = scope["path"].split("/")[1] if scope["path"].count("/") else ""
        if not hmac.compare_digest(first.encode(), self._token):
            return 403, "Open the address that conceptaudit printed: it holds the token."
        if scope["method"] == "POST":
            origin = headers.get(b"origin", b"").decode("latin-1").lower()
            if origin not in ("", f"http://{host}"):
                return 403, "Verdicts are taken from these pages only."
            if int(headers.get(b"content-length", b"0") or 0) > MOST_BODY:
                return 413, "The form is too large."
        elif scope["method"] not in ("GET", "HEAD"):
            return 405, "Pages are read, and verdicts given; nothing else."
        return None

    async def _refuse(self, send: Send, status: int, text: str) -> None:
        headers = [*self._headers, (b"content-type", b"text/plain; charset=utf-8")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": text.encode()})


def make_app(session: Session, *, token: str, hosts: frozenset[str], framed: bool) -> Guard:
    """Put pages and guard together."""
    return Guard(_starlette(session), token=token, hosts=hosts, framed=framed)


def _starlette(session: Session) -> Starlette:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException

    pages = Pages(session)

    def failed(request: Request, error: Exception) -> Response:
        status = 410 if isinstance(error, GoneError) else 500
        if isinstance(error, NotThereError):
            status = 404
        elif isinstance(error, ConfigError):
            status = 400
        elif isinstance(error, HTTPException):
            return pages.error(request, error.status_code, str(error.detail))
        return pages.error(request, status, str(error))

    def broken(request: Request, error: Exception) -> Response:
        _log.error("%s: a fault of the explorer", request.url.path, exc_info=error)
        kind = type(error).__name__
        return pages.error(request, 500, f"A fault of the explorer ({kind}); the terminal has it.")

    return Starlette(
        routes=[*pages.routes(), *(r for kind in PARTS for r in kind(session).routes())],
        exception_handlers={
            ConceptAuditError: failed,
            HTTPException: failed,
            OSError: failed,
            Exception: broken,
        },
    )


def new_token() -> str:
    """Draw a token that nobody guesses: 192 bits."""
    return secrets.token_urlsafe(24)

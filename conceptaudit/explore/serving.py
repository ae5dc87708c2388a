"""Start and stop the server."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from conceptaudit.errors import ConfigError, MissingDependencyError
from conceptaudit.explore.session import ExploreOptions, Session
from conceptaudit.image.decode import quiet_pillow

if TYPE_CHECKING:
    import uvicorn

LOOPBACK = "127.0.0.1"
PATIENCE = 20.0
"""Seconds until a server that does not start is given up."""


@dataclass(slots=True, kw_only=True)
class Server:
    """A server that listens, and will answer once `run` or `start` is called.

    Parameters
    ----------
    session : Session
    address : str
        What to open: it holds the token.
    """

    session: Session
    address: str
    framed: bool
    _socket: socket.socket
    _server: uvicorn.Server
    _thread: threading.Thread | None = None

    @classmethod
    def listen(
        cls, options: ExploreOptions, *, host: str = LOOPBACK, port: int = 0, framed: bool = False
    ) -> Server:
        """Open everything, and take a port.

        Parameters
        ----------
        options : ExploreOptions
        host : str, default "127.0.0.1"
            Address to listen on; any other than loopback lets other machines in, if they know
            the token.
        port : int, default 0
            0 for any that is free.
        framed : bool, default False
            Whether a notebook on this machine may show the pages in a frame.

        Raises
        ------
        ConfigError
            The port is taken, or an input is wrong.
        MissingDependencyError
            The extra ``explore`` is not installed.
        """
        try:
            import jinja2  # noqa: F401
            import starlette  # noqa: F401
            import uvicorn
        except ImportError as error:
            raise MissingDependencyError(
                f"The explorer needs {error.name}: pip install 'conceptaudit[explore]'."
            ) from error
        from conceptaudit.explore.app import make_app, new_token

        session = Session(options)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        taken = socket.socket(family, socket.SOCK_STREAM)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((host, port))
            taken.listen(128)  # from now on a browser waits rather than being turned away
        except (OSError, OverflowError) as error:
            taken.close()
            raise ConfigError(
                f"Cannot listen on {host} port {port} (--host, --port): {error}."
            ) from error
        number = int(taken.getsockname()[1])
        token = new_token()
        app = make_app(session, token=token, hosts=_names(host, number), framed=framed)
        config = uvicorn.Config(
            app, log_level="critical", access_log=False, lifespan="off", server_header=False,
            timeout_graceful_shutdown=2, ws="none",
        )  # fmt: skip
        name = f"[{host}]" if ":" in host else host
        if host in ("0.0.0.0", "::"):  # noqa: S104 -- what the user asked for
            name = socket.gethostname()
        return cls(
            session=session,
            address=f"http://{name}:{number}/{token}/",
            framed=framed,
            _socket=taken,
            _server=uvicorn.Server(config),
        )

    def run(self) -> None:
        """Answer until interrupted."""
        try:
            with quiet_pillow():
                self._server.run(sockets=[self._socket])
        finally:
            self.close()

    def start(self) -> Server:
        """Answer in a thread of its own."""
        self._thread = threading.Thread(
            target=self._serve, name="conceptaudit-explore", daemon=True
        )
        self._thread.start()
        end = time.monotonic() + PATIENCE
        while not self._server.started and time.monotonic() < end and self._thread.is_alive():
            time.sleep(0.01)
        return self

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """Stop a server that `start` started."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(timeout=PATIENCE)
            self._thread = None
        self.close()

    def close(self) -> None:
        """Let go of port, files and database."""
        self._socket.close()
        self.session.close()

    def _repr_html_(self) -> str:
        """Show the pages in a frame of a notebook."""
        return (
            f'<iframe src="{self.address}" title="conceptaudit explorer" width="100%" height="720" '
            'style="border: 1px solid #ccc"></iframe>'
        )


def _names(host: str, port: int) -> frozenset[str]:
    """List the values of ``Host`` that are answered."""
    names = {"127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host}
    if host in ("0.0.0.0", "::"):  # noqa: S104
        names |= {socket.gethostname(), socket.getfqdn()}
    return frozenset(f"{name.lower()}:{port}" for name in names) | (
        frozenset(name.lower() for name in names) if port == 80 else frozenset()
    )


def explore(*runs: Any, framed: bool = True, **options: Any) -> Server:
    """Start the explorer in this process, as a notebook shows it.

    Parameters
    ----------
    *runs : str or Path
        Run folders of finished audits.
    framed : bool, default True
        Whether a page on this machine may show it in a frame.
    **options
        Of `ExploreOptions` (``dataset``, ``curve``, ``longtail``, ``index``, ``clip``, ``judge``),
        and ``port``.

    Returns
    -------
    Server
        Shows itself in a notebook; ``address`` for a browser; ``stop()`` ends it.
    """
    from pathlib import Path

    port = int(options.pop("port", 0))
    made = ExploreOptions(runs=tuple(Path(str(run)) for run in runs), **options)
    return Server.listen(made, port=port, framed=framed).start()

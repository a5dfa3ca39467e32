"""A local HTTP server in a background thread: its event loop, its socket, and its shutdown."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

_WORKERS = 4
_SHUTDOWN_TIMEOUT = 0.05
"""Seconds that requests in flight get to finish when the server stops."""

Handler = Callable[[web.Request, Executor], Awaitable[web.StreamResponse]]
_Stop = tuple[asyncio.AbstractEventLoop, asyncio.Event]


class HttpServer:
    """Passes every HTTP request to one handler. It can be restarted after it was stopped.

    Args:
        handler: Answers a request; it also gets an executor for blocking work.
        host: The address to listen on.
        port: The port to listen on; 0 picks a free one.
        max_body_size: The largest request body, in bytes.
    """

    def __init__(self, handler: Handler, *, host: str, port: int, max_body_size: int) -> None:
        self._handler = handler
        self._host = host
        self._port = port
        self._max_body_size = max_body_size
        self._bound_port: int | None = None
        self._thread: threading.Thread | None = None
        self._stop: _Stop | None = None
        self._lifecycle = threading.Lock()

    @property
    def url(self) -> str:
        """The address that clients on this machine connect to, `http://HOST:PORT`.

        Raises:
            RuntimeError: When the server is not running.
        """
        port = self._bound_port
        if port is None:
            raise RuntimeError("The emulator is not running: use `with Emulator()` or start().")
        return f"http://{_url_host(self._host)}:{port}"

    def start(self) -> None:
        """Start listening; returns when requests are accepted.

        Raises:
            OSError: When the address cannot be bound.
            RuntimeError: When the server is already running.
        """
        with self._lifecycle:
            if self._thread is not None:
                raise RuntimeError("The emulator is already running.")
            family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
            listener = socket.create_server((self._host, self._port), family=family, backlog=512)
            ready: Future[_Stop] = Future()
            thread = threading.Thread(
                target=self._run, args=(listener, ready), name="qwen-embed-emulator", daemon=True
            )
            thread.start()
            try:
                self._stop = ready.result()
            except Exception:
                thread.join()
                raise
            self._bound_port = listener.getsockname()[1]
            self._thread = thread

    def stop(self) -> None:
        """Close every connection and end the thread; does nothing if the server is not running."""
        with self._lifecycle:
            if self._thread is None or self._stop is None:
                return
            loop, stopping = self._stop
            loop.call_soon_threadsafe(stopping.set)
            self._thread.join()
            self._thread = self._stop = self._bound_port = None

    def _run(self, listener: socket.socket, ready: Future[_Stop]) -> None:
        with listener:
            try:
                asyncio.run(self._serve(listener, ready))
            except BaseException as error:
                # `start` has returned by then, so the thread itself has to report the error.
                if ready.done():
                    raise
                ready.set_exception(error)

    async def _serve(self, listener: socket.socket, ready: Future[_Stop]) -> None:
        stopping = asyncio.Event()
        executor = ThreadPoolExecutor(_WORKERS, thread_name_prefix="qwen-embed-engine")

        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._handler(request, executor)

        application = web.Application(client_max_size=self._max_body_size)
        application.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(
            application, access_log=None, logger=_http_log, shutdown_timeout=_SHUTDOWN_TIMEOUT
        )
        try:
            await runner.setup()
            await web.SockSite(runner, listener).start()
            ready.set_result((asyncio.get_running_loop(), stopping))
            await stopping.wait()
        finally:
            await runner.cleanup()
            executor.shutdown(wait=True, cancel_futures=True)


def _is_server_error(record: logging.LogRecord) -> bool:
    """Return False for a record about malformed HTTP from a client, which is answered with 400."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, (HttpProcessingError, web.RequestPayloadError))


_http_log = logging.getLogger(f"{__name__}.http")
_http_log.addFilter(_is_server_error)


def _url_host(host: str) -> str:
    """Return the host as a client on this machine writes it in a URL."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        address = ipaddress.ip_address("::1" if address.version == 6 else "127.0.0.1")
    return f"[{address}]" if address.version == 6 else str(address)

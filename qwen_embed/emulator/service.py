"""How one HTTP request is answered, and the controls that change it while the service runs."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from qwen_embed.emulator.dialects.answers import Answer, Vectors, page, with_headers
from qwen_embed.emulator.dialects.request import EmbeddingRequest, RefusalError
from qwen_embed.emulator.dialects.rules import check_key, check_workspace, not_found, too_large
from qwen_embed.emulator.dialects.servers import Dialect, ServerName, find_server
from qwen_embed.emulator.faults import CutShort, Delay, Drop, DropMoment, Failure, FaultQueue, Storm
from qwen_embed.emulator.quota import Quota
from qwen_embed.emulator.recording import RecordedRequest, Recorder
from qwen_embed.emulator.vectors.engines import Engine, EngineName, dense_vectors, find_engine
from qwen_embed.emulator.vectors.sparse import sparse_vectors
from qwen_embed.models import Model

_log = logging.getLogger(__name__)

_WORKSPACE_HEADER = "X-DashScope-WorkSpace"


class EmbeddingService:
    """The service without its socket; its controls may be used from any thread.

    Args:
        api_key: The key that is let in; `None` for what is usual with the server.
        backend: The server that is played.
        engine: Where dense vectors come from: a name or an object.
        latency: Seconds added to each answer.
        shuffle: Whether the rows of an answer come in random order.
        repeat_indices: Whether sparse rows repeat some indices with smaller values.
        base64_as_floats: Whether requests for base64 are answered with numbers.
        workspaces: The workspaces that exist; `None` lets every one exist.
        seed: What that order is drawn from.
        clock: Seconds, never going back; the quota's.
    """

    def __init__(  # noqa: PLR0913 -- each is one habit of a server
        self,
        *,
        api_key: str | None,
        backend: ServerName,
        engine: EngineName | Engine,
        latency: float,
        shuffle: bool,
        repeat_indices: bool,
        base64_as_floats: bool,
        workspaces: Collection[str] | None,
        seed: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = find_server(backend)
        self.api_key = self._server.api_key if api_key is None else api_key
        self.latency = latency
        self.shuffle = shuffle
        self.repeat_indices = repeat_indices
        self.base64_as_floats = base64_as_floats
        self.workspaces = workspaces
        self._engine = find_engine(engine)
        self._clock = clock
        self._rng = np.random.default_rng(seed)
        self._models = dict(self._server.models)
        self._models_lock = threading.Lock()
        self._quota = Quota(None, None, clock)
        self._faults = FaultQueue()
        self._recorder = Recorder()

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests since the start or the last `clear`, in order of arrival: a new list.

        Each is a `RecordedRequest`. Those that are not answered yet are among them.
        """
        return self._recorder.requests

    @property
    def peak_in_flight(self) -> int:
        """The most requests being answered at one time since the start or the last `clear`."""
        return self._recorder.peak_in_flight

    def clear(self) -> None:
        """Forget the recorded requests and the peak; quota, faults and models stay as they are."""
        self._recorder.clear()

    def set_quota(
        self, requests_per_minute: float | None = None, tokens_per_minute: float | None = None
    ) -> None:
        """Let through so many requests and tokens, of all models together; others get 429.

        Enforced by the second: a sixtieth of each number a second, and no more than that saved up.
        Only requests that are otherwise right are counted.

        Args:
            requests_per_minute: Requests a minute; `None` lifts the quota.
            tokens_per_minute: Tokens a minute, likewise.

        Raises:
            ValueError: When a number is not above 0.
        """
        self._quota = Quota(requests_per_minute, tokens_per_minute, self._clock)

    def set_model(self, name: str, **changes: Any) -> None:
        """Change a model's row for this emulator only, or add a model.

        Args:
            name: The model; one that is not in the table starts with the defaults of `Model`.
            **changes: Fields of `qwen_embed.models.Model`, such as `texts_per_request=6`. Of the
                self-hosted servers only `tei` has a cap of texts.

        Raises:
            TypeError: When a field does not exist.

        Example:
            >>> from qwen_embed.emulator import Emulator
            >>> Emulator().set_model("text-embedding-v4", texts_per_request=6)
        """
        with self._models_lock:
            row = replace(self._models.get(name) or Model(name=name), **changes)
            # A new dictionary: the other thread may be reading the old one.
            self._models = {**self._models, name: row}

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
        """Answer the next embedding requests with an error, after the faults planned before.

        The JSON has the form of the protocol that the request came by.

        Args:
            n: How many requests, at least 1.
            status: The HTTP status; 200 with a code is an error that the service also makes.
            code: The code in the JSON, as the native protocol has it: where the compatible one has
                another name for it (`limit_requests` for `Throttling.RateQuota`), that is printed
                there. Self-hosted servers print it as the type.
            message: The message in the JSON.
            headers: More headers, such as `Retry-After`.
            body: Bytes in place of the JSON, such as the HTML page of a proxy.

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
        self._faults.plan(Failure(status, code, message, dict(headers or {}), body), n)

    def drop_next(self, n: int = 1, *, when: DropMoment = "before") -> None:
        """Close the connection of the next embedding requests, after the faults planned before.

        Args:
            n: How many requests, at least 1.
            when: `before` any byte of the answer, or in the middle of its `body`.

        Raises:
            ValueError: When `n` is below 1 or `when` is neither.
        """
        if when not in ("before", "body"):
            raise ValueError(f"when must be 'before' or 'body', not {when!r}.")
        self._faults.plan(Drop(when), n)

    def inject_faults(self, rate: float, *, seed: int = 0) -> None:
        """Let a part of all embedding requests go wrong by chance, in ways that heal.

        They get 429, 500, 502 with a page of HTML, or 503; the connection closes before the answer
        or in the middle of its body; the body is cut short; or the answer takes a second longer.

        Args:
            rate: The part of requests, from 0 (which ends it) to 1.
            seed: What chance is drawn from.

        Raises:
            ValueError: When the rate is no such part.
        """
        if not 0 <= rate <= 1:
            raise ValueError(f"rate must be from 0 to 1, not {rate}.")
        self._faults.let_storm(Storm(rate, chance=random.Random(seed)))  # noqa: S311 -- no secret

    async def handle(self, request: web.Request, worker: Executor) -> web.StreamResponse:
        """Answer one HTTP request of aiohttp's server; `start` sees to it that this is called.

        Args:
            request: The request.
            worker: Where the engine runs, so that it may be slow.

        Returns:
            The answer, a refusal or a planned fault.
        """
        with self._recorder.flight():
            started_at = time.monotonic()
            try:
                raw = await request.read()
                refused = None
            except web.HTTPRequestEntityTooLarge:
                raw, refused = b"", too_large()
            except ConnectionResetError:  # nobody is there to be answered
                return _dropped(request)
            except (web.RequestPayloadError, HttpProcessingError):
                raw, refused = b"", None  # a body that cannot be unpacked is refused as no JSON is
            dialect = self._server.dialect_at(request.path)
            if (request.method, request.path) != ("POST", dialect.path):
                existing = [each.path for each in self._server.dialects]
                refused = not_found(request.method, request.path, existing)
            recorded = _recorded(request, raw, started_at)
            number = self._recorder.arrived(recorded)

            fault = None if refused else self._faults.take()
            if refused:
                answer = dialect.refusal(refused)
            elif isinstance(fault, Failure):
                answer = _failure(fault, dialect)
            else:
                answer = await self._answer(recorded, dialect, worker)
            late = fault.seconds if isinstance(fault, Delay) else 0.0
            await asyncio.sleep(self.latency + late)

            if isinstance(fault, Drop) and fault.when == "before":
                return _dropped(request)
            if isinstance(fault, CutShort):
                answer = replace(answer, body=answer.body[: len(answer.body) // 2])
            whole = not isinstance(fault, (Drop, CutShort))
            self._recorder.answered(number, answer.status, answer.code, whole=whole)
            if isinstance(fault, Drop):
                return await _dropped_in_body(request, answer)
            return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    async def _answer(
        self, recorded: RecordedRequest, dialect: Dialect, worker: Executor
    ) -> Answer:
        try:
            check_key(recorded.api_key, self.api_key)
            check_workspace(recorded.headers.get(_WORKSPACE_HEADER), self.workspaces)
            request = dialect.read(recorded.body, self._models)
            self._quota.spend(request.tokens)
        except RefusalError as error:
            return dialect.refusal(error)
        if self.base64_as_floats:
            request = replace(request, encoding_format="float")
        texts = len(request.texts)
        order = self._rng.permutation(texts).tolist() if self.shuffle else range(texts)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(worker, self._embed, request, dialect, order)

    def _embed(
        self, request: EmbeddingRequest, dialect: Dialect, order: list[int] | range
    ) -> Answer:
        dense = sparse = None
        try:
            if request.output_type != "sparse":
                dense = dense_vectors(self._engine, request)
        except Exception as error:
            _log.exception("The engine failed.")
            return dialect.refusal(RefusalError(500, "InternalError.Algo", repr(error)))
        if request.output_type != "dense":
            sparse = sparse_vectors(request, repeat_indices=self.repeat_indices)
        return dialect.success(request, Vectors(dense, sparse), order)


def _failure(fault: Failure, dialect: Dialect) -> Answer:
    if fault.body is None:
        answer = dialect.refusal(RefusalError(fault.status, fault.code, fault.message))
    else:
        answer = page(fault.status, fault.body)
    return with_headers(answer, fault.headers)


def _recorded(request: web.Request, raw: bytes, started_at: float) -> RecordedRequest:
    headers = request.headers.copy()
    scheme, _, key = headers.popall("Authorization", [""])[0].partition(" ")
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body = None
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return RecordedRequest(
        path=request.path,
        api_key=key.strip() if scheme.lower() == "bearer" else None,
        headers=headers,
        body=body,
        status=None,
        code=None,
        client=f"{peer[0]}:{peer[1]}" if peer else None,
        started_at=started_at,
    )


def _dropped(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.close()
    return web.Response()  # aiohttp wants one, and finds nowhere to send it


async def _dropped_in_body(request: web.Request, answer: Answer) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = len(answer.body)
    await response.prepare(request)
    await response.write(answer.body[: len(answer.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response

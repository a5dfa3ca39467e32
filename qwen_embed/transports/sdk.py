"""Sends requests through the user's own SDK client; bodies and answers stay ours, byte for byte."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from pydantic import SecretStr

from qwen_embed.config.sdk_clients import SdkClient
from qwen_embed.errors import ConnectionFailedError, RequestError, RequestTimeoutError
from qwen_embed.process.worker_threads import WorkerThreads
from qwen_embed.transports.default import Response, Transport, told, without_key

_HEADERS = {"Content-Type": "application/json"}

_sharing: WeakKeyDictionary[Any, WeakSet[Transport]] = WeakKeyDictionary()
"""The transports over each client whose calls are awaited."""


@dataclass(frozen=True)
class _Calls:
    """How a client is used.

    Attributes:
        send: Sends a body to a path; the reply is to be awaited where the client's calls are.
        close: Closes the client.
        too_late: What it raises where no answer came in time.
        unreachable: What it raises where no whole answer came.
    """

    send: Callable[[str, bytes], Any]
    close: Callable[[], Any]
    too_late: type[Exception]
    unreachable: type[Exception]


def transport_over(sdk: SdkClient, *, timeout: float, connections: int) -> Transport:
    """Return a transport over a client, whose own repeats are switched off.

    Args:
        sdk: The client.
        timeout: Seconds for one request.
        connections: The most requests in flight.
    """
    calls = (_dashscope if sdk.protocol == "native" else _openai)(sdk, timeout)
    return SdkTransport(sdk, calls, timeout=timeout, connections=connections)


class SdkTransport(Transport):
    """Carries requests by a client of the user's.

    A client whose calls block runs in threads of a pool. One whose calls are awaited runs on this
    package's loop, so that only there its connections can be closed.

    Args:
        sdk: The client.
        calls: How it is used.
        timeout: Seconds for one request.
        connections: The most requests in flight.
    """

    def __init__(self, sdk: SdkClient, calls: _Calls, *, timeout: float, connections: int) -> None:
        self._client = sdk.client
        self._calls = calls
        self._timeout = timeout
        self._api_key = SecretStr(sdk.key)
        self._threads: WorkerThreads | None = None
        if sdk.asynchronous:
            _sharing.setdefault(sdk.client, WeakSet()).add(self)
        else:
            self._threads = WorkerThreads(connections, "qwen-embed-client")

    async def post(self, path: str, body: bytes) -> Response:
        """Send a JSON body to `path` below the client's root and return the answer."""
        failure: RequestError
        try:
            # The client's own time-out is for each read: this one is for the whole.
            response = await asyncio.wait_for(self._answer(path, body), self._timeout)
        except (asyncio.TimeoutError, self._calls.too_late):
            failure = RequestTimeoutError(f"No whole answer within {self._timeout:g} seconds.")
        except self._calls.unreachable as error:
            cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
            failure = ConnectionFailedError(told(cause, self._api_key))
        else:
            status = response.status_code
            return Response(
                status, response.headers, without_key(self._api_key, status, response.content)
            )
        raise failure

    def _answer(self, path: str, body: bytes) -> Awaitable[Any]:
        if self._threads is None:
            return self._calls.send(path, body)  # type: ignore[no-any-return]  # the client's own
        # Hooks of the client find the caller's context, such as the span that is open there.
        run = partial(contextvars.copy_context().run, self._calls.send, path, body)
        return asyncio.get_running_loop().run_in_executor(self._threads, run)

    async def aclose(self) -> None:
        """End the threads, or close a client that nobody else can close.

        One whose calls block stays open: it is the user's. One whose calls are awaited is closed
        with the last of its transports.
        """
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            return
        sharing = _sharing[self._client]
        sharing.discard(self)
        if not sharing:
            await self._calls.close()


def _dashscope(sdk: SdkClient, timeout: float) -> _Calls:
    transport = sdk.client.with_options(max_retries=0).transport
    errors = importlib.import_module("dashscope.v2.errors")

    def send(path: str, body: bytes) -> Any:
        return transport.request("POST", path, content=body, headers=_HEADERS, timeout=timeout)

    http = transport.http_client  # which the client leaves open where it was given one
    return _Calls(
        send,
        close=http.aclose if sdk.asynchronous else http.close,
        too_late=errors.APITimeoutError,
        unreachable=errors.APIConnectionError,
    )


def _openai(sdk: SdkClient, timeout: float) -> _Calls:
    openai = importlib.import_module("openai")
    client = sdk.client.with_options(max_retries=0, timeout=timeout)
    options = {"headers": _HEADERS, "follow_redirects": False}
    # Hands the answer over as it came, as for a download.
    raw = openai.HttpxBinaryResponseContent

    def send(path: str, body: bytes) -> Any:
        try:
            return client.post(path, cast_to=raw, content=body, options=options).response
        except openai.APIStatusError as error:
            return error.response

    async def asend(path: str, body: bytes) -> Any:
        try:
            answer = await client.post(path, cast_to=raw, content=body, options=options)
        except openai.APIStatusError as error:
            return error.response
        return answer.response

    return _Calls(
        asend if sdk.asynchronous else send,
        close=sdk.client.close,
        too_late=openai.APITimeoutError,
        unreachable=openai.APIConnectionError,
    )

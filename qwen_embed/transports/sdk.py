"""Sends requests through the user's own SDK client; it changes no byte of bodies and responses."""

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
from qwen_embed.transports.base import Response, Transport
from qwen_embed.transports.redaction import describe, without_key

_HEADERS = {"Content-Type": "application/json"}

_sharing: WeakKeyDictionary[Any, WeakSet[Transport]] = WeakKeyDictionary()
"""The transports that share each async client."""


@dataclass(frozen=True)
class _Calls:
    """The functions and exceptions of a client.

    Attributes:
        send: Sends a body to a path and returns the response, an awaitable for an async client.
        close: Closes the client.
        timed_out: Raised by the client if there is no response in time.
        unreachable: Raised by the client if there is no complete response.
    """

    send: Callable[[str, bytes], Any]
    close: Callable[[], Any]
    timed_out: type[Exception]
    unreachable: type[Exception]


def transport_over(sdk: SdkClient, *, timeout: float, connections: int) -> Transport:
    """Return a transport that uses a client, with the client's own retries disabled.

    Args:
        sdk: The client.
        timeout: Seconds for one request.
        connections: Maximum requests in flight.
    """
    calls = (_dashscope if sdk.protocol == "native" else _openai)(sdk, timeout)
    return SdkTransport(sdk, calls, timeout=timeout, connections=connections)


class SdkTransport(Transport):
    """Sends requests with the user's own SDK client.

    A blocking client runs in a pool of threads. An async client runs on this package's event loop,
    the only place where its connections can be closed.

    Args:
        sdk: The client.
        calls: The client's functions.
        timeout: Seconds for one request.
        connections: Maximum requests in flight.
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
        """Send a JSON body to `path` below the client's root and return the response."""
        failure: RequestError
        try:
            # The client's own timeout applies to each read, this one to the whole request.
            response = await asyncio.wait_for(self._send(path, body), self._timeout)
        except (asyncio.TimeoutError, self._calls.timed_out):
            failure = RequestTimeoutError(f"No complete response within {self._timeout:g} seconds.")
        except self._calls.unreachable as error:
            cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
            failure = ConnectionFailedError(describe(cause, self._api_key))
        else:
            status = response.status_code
            return Response(
                status, response.headers, without_key(self._api_key, status, response.content)
            )
        raise failure

    def _send(self, path: str, body: bytes) -> Awaitable[Any]:
        if self._threads is None:
            return self._calls.send(path, body)  # type: ignore[no-any-return]  # the SDK's type
        # The client's hooks run in the caller's context, for example with its open span.
        run = partial(contextvars.copy_context().run, self._calls.send, path, body)
        return asyncio.get_running_loop().run_in_executor(self._threads, run)

    async def aclose(self) -> None:
        """Stop the threads, or close an async client with the last transport that uses it.

        A blocking client stays open: the user closes it.
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

    http = transport.http_client  # the client does not close one that was passed to it
    return _Calls(
        send,
        close=http.aclose if sdk.asynchronous else http.close,
        timed_out=errors.APITimeoutError,
        unreachable=errors.APIConnectionError,
    )


def _openai(sdk: SdkClient, timeout: float) -> _Calls:
    openai = importlib.import_module("openai")
    client = sdk.client.with_options(max_retries=0, timeout=timeout)
    options = {"headers": _HEADERS, "follow_redirects": False}
    # Returns the response unparsed, as for a download.
    raw = openai.HttpxBinaryResponseContent

    def send(path: str, body: bytes) -> Any:
        try:
            return client.post(path, cast_to=raw, content=body, options=options).response
        except openai.APIStatusError as error:
            return error.response

    async def asend(path: str, body: bytes) -> Any:
        try:
            content = await client.post(path, cast_to=raw, content=body, options=options)
        except openai.APIStatusError as error:
            return error.response
        return content.response

    return _Calls(
        asend if sdk.asynchronous else send,
        close=sdk.client.close,
        timed_out=openai.APITimeoutError,
        unreachable=openai.APIConnectionError,
    )

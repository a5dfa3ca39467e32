"""Sends requests through the user's own SDK client; bodies and answers stay ours, byte for byte."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from pydantic import SecretStr

from qwen_embed.errors import ConnectionFailedError, RequestError, RequestTimeoutError
from qwen_embed.sdk_clients import SdkClient
from qwen_embed.transport import Reply, Transport, told, without_key

_HEADERS = {"Content-Type": "application/json"}

_Errors = tuple[type[Exception], type[Exception]]

Send = Callable[[str, bytes], Any]
"""Sends a body to a path by a client; the reply is to be awaited where the client's calls are."""


def transport_over(sdk: SdkClient, *, timeout: float, connections: int) -> Transport:
    """Return a transport over a client, whose own repeats are switched off.

    Args:
        sdk: The client.
        timeout: Seconds for one request.
        connections: The most requests in flight.
    """
    make = _dashscope if sdk.protocol == "native" else _openai
    send, errors = make(sdk, timeout)
    return SdkTransport(sdk, send, errors, timeout=timeout, connections=connections)


class SdkTransport(Transport):
    """Carries requests by a client of the user's.

    A client whose calls block runs in threads of its own pool. One whose calls are awaited runs on
    this package's loop, and so should serve no other loop.

    Args:
        sdk: The client.
        send: Sends a body by it.
        errors: What it raises where no answer came: in time, or at all.
        timeout: Seconds for one request.
        connections: The most requests in flight.
    """

    def __init__(
        self,
        sdk: SdkClient,
        send: Send,
        errors: _Errors,
        *,
        timeout: float,
        connections: int,
    ) -> None:
        self._send = send
        self._too_late, self._unreachable = errors
        self._timeout = timeout
        self._api_key = SecretStr(sdk.key)
        self._threads = (
            None if sdk.asynchronous else ThreadPoolExecutor(connections, "qwen-embed-client")
        )

    async def post(self, path: str, body: bytes) -> Reply:
        """Send a JSON body to `path` below the client's root and return the answer."""
        failure: RequestError
        try:
            # The client's own time-out is for each read: this one is for the whole.
            response = await asyncio.wait_for(self._answer(path, body), self._timeout)
        except (asyncio.TimeoutError, self._too_late):
            failure = RequestTimeoutError(f"No whole answer within {self._timeout:g} seconds.")
        except self._unreachable as error:
            cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
            failure = ConnectionFailedError(told(cause, self._api_key))
        else:
            answer = response.content
            if response.status_code != 200:
                answer = without_key(self._api_key, answer)
            return Reply(response.status_code, response.headers, answer)
        raise failure

    def _answer(self, path: str, body: bytes) -> Awaitable[Any]:
        if self._threads is None:
            return self._send(path, body)  # type: ignore[no-any-return]  # the client's own
        # Hooks of the client find the caller's context, such as the span that is open there.
        run = partial(contextvars.copy_context().run, self._send, path, body)
        return asyncio.get_running_loop().run_in_executor(self._threads, run)

    async def aclose(self) -> None:
        """End the threads. The client stays open: it is the user's."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)


def _dashscope(sdk: SdkClient, timeout: float) -> tuple[Send, _Errors]:
    transport = sdk.client.with_options(max_retries=0).transport
    errors = importlib.import_module("dashscope.v2.errors")

    def send(path: str, body: bytes) -> Any:
        return transport.request("POST", path, content=body, headers=_HEADERS, timeout=timeout)

    return send, (errors.APITimeoutError, errors.APIConnectionError)


def _openai(sdk: SdkClient, timeout: float) -> tuple[Send, _Errors]:
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

    used = asend if sdk.asynchronous else send
    return used, (openai.APITimeoutError, openai.APIConnectionError)

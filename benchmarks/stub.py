"""A stub of the service in its own process, so cheap that measurements show the client's cost.

It ignores the texts: it counts them and sends a prerendered response. For realistic responses see
the emulator (`qwen_embed.emulator`).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import random
import re
import struct
import subprocess
import sys
import threading
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
from typing_extensions import Self

HOST = "127.0.0.1"
NATIVE = "/api/v1"
"""The root of the native protocol."""
COMPATIBLE = "/compatible-mode/v1"
"""The root of the OpenAI-compatible protocol."""
PATH = f"{NATIVE}/services/embeddings/text-embedding/text-embedding"
DIMENSION = 1024
MOST_TEXTS = 25

_STATISTICS = "/stats"
_TOKENS_PER_TEXT = 60
_CHUNK_BYTES = 16 * 1024
_MOST_REQUEST_BYTES = 16 * 1024 * 1024
_LONGEST_LIFE = 3600.0
_UNREADABLE = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Service:
    """How the service behaves.

    Attributes:
        latency: Seconds between a request's last byte and the first byte of its response, 429s
            included.
        dimension: The length of a vector.
        quota: Requests admitted per second; unlimited if 0.
        depth: Requests that a full bucket admits at once. The bucket is full at the start.
        window: Seconds of a fixed window, used instead of the bucket if not 0.
        retry_after: Whole seconds in the `Retry-After` header of a 429; no header if 0.
        throttling_costs: Whether a throttled request empties the bucket.
    """

    latency: float = 0.1
    dimension: int = DIMENSION
    quota: float = 0.0
    depth: float = 1.0
    window: float = 0.0
    retry_after: int = 0
    throttling_costs: bool = False


class Statistics(msgspec.Struct):
    """The requests that the stub has counted: served, and throttled with a 429."""

    served: int = 0
    throttled: int = 0


class Stub:
    """The stub as a context manager: its process runs until the block ends.

    Args:
        **behaviour: The attributes of `Service`.

    Attributes:
        root: The root of its URLs, without a path; `NATIVE` and `COMPATIBLE` come after it.

    Example:
        >>> with Stub(latency=0) as stub:
        ...     stub.statistics()
        Statistics(served=0, throttled=0)
    """

    def __init__(self, **behaviour: Any) -> None:
        self.root = ""
        self._service = Service(**behaviour)
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), msgspec.json.encode(self._service)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        if not port:
            raise RuntimeError("The stub did not start; its error is above.")
        self.root = f"http://{HOST}:{port}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.communicate()

    def statistics(self) -> Statistics:
        """Return the counts so far."""
        with urllib.request.urlopen(self.root + _STATISTICS) as response:  # noqa: S310 -- loopback
            return msgspec.json.decode(response.read(), type=Statistics)


def vectors(dimension: int = DIMENSION) -> list[list[float]]:
    """Return the vectors of every response: the text at index `i` of a request gets vector `i`."""
    source = random.Random(1024)  # noqa: S311 -- the same vectors in every process
    return [[source.gauss(0, DIMENSION**-0.5) for _ in range(dimension)] for _ in range(MOST_TEXTS)]


@dataclass(frozen=True)
class Responses:
    """Complete HTTP responses of one protocol.

    Attributes:
        floats: Responses with vectors as JSON numbers, by their number, from 1.
        base64: The same with vectors in base64, if the protocol supports it.
        throttled: The response to a request above the quota.
    """

    floats: list[bytes]
    base64: list[bytes]
    throttled: bytes


def native_responses(service: Service) -> Responses:
    """Return the responses of the native protocol.

    Floats have all their digits and bodies are chunked, as those of the service: 10 vectors are
    217 KB.
    """
    rows = [
        b'{"text_index":%d,"embedding":%s}' % (index, msgspec.json.encode(vector))
        for index, vector in enumerate(vectors(service.dimension))
    ]
    body = (
        b'{"output":{"embeddings":[%s]},"usage":{"total_tokens":%d},'
        b'"request_id":"1ba94ac8-e058-99bc-9cc1-7fdb37940a46"}'
    )
    error = (
        b'{"code":"Throttling.RateQuota",'
        b'"message":"Requests rate limit exceeded, please try again later.",'
        b'"request_id":"1ba94ac8-e058-99bc-9cc1-7fdb37940a46"}'
    )
    responses = _by_count(body, rows)
    return Responses(floats=responses, base64=responses, throttled=_throttled(service, error))


def compatible_responses(service: Service) -> Responses:
    """Return the responses of the OpenAI-compatible protocol; in base64 10 vectors are 55 KB."""
    dense = vectors(service.dimension)
    printed = [msgspec.json.encode(vector) for vector in dense]
    packed = [
        b'"%s"' % base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)) for vector in dense
    ]
    body = (
        b'{"data":[%s],"model":"text-embedding-v4","object":"list",'
        b'"usage":{"prompt_tokens":%d,"total_tokens":%d},'
        b'"id":"1ba94ac8-e058-99bc-9cc1-7fdb37940a46"}'
    )
    error = (
        b'{"error":{"message":"Requests rate limit exceeded, please try again later.",'
        b'"type":"limit_requests","param":null,"code":"limit_requests"},'
        b'"request_id":"1ba94ac8-e058-99bc-9cc1-7fdb37940a46"}'
    )
    row = b'{"embedding":%s,"index":%d,"object":"embedding"}'
    return Responses(
        floats=_by_count(body, [row % (each, index) for index, each in enumerate(printed)]),
        base64=_by_count(body, [row % (each, index) for index, each in enumerate(packed)]),
        throttled=_throttled(service, error),
    )


def _by_count(body: bytes, rows: list[bytes]) -> list[bytes]:
    tokens = body.count(b"%d")
    return [_UNREADABLE] + [
        _served(body % (b",".join(rows[:count]), *[_TOKENS_PER_TEXT * count] * tokens))
        for count in range(1, len(rows) + 1)
    ]


def _served(body: bytes) -> bytes:
    head = (
        b"HTTP/1.1 200 OK\r\n"
        b"Content-Type: application/json\r\n"
        b"X-Request-Id: 1ba94ac8-e058-99bc-9cc1-7fdb37940a46\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    starts = range(0, len(body), _CHUNK_BYTES)
    pieces = (body[start : start + _CHUNK_BYTES] for start in starts)
    return head + b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in pieces) + b"0\r\n\r\n"


def _throttled(service: Service, body: bytes) -> bytes:
    retry_after = b"Retry-After: %d\r\n" % service.retry_after if service.retry_after else b""
    return (
        b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\n%s"
        b"Content-Length: %d\r\n\r\n%s"
    ) % (retry_after, len(body), body)


class Quota:
    """Admits requests by a bucket that fills evenly, or by fixed windows.

    Args:
        service: Its settings.
        now: The current time in seconds, by the clock that `admits` uses.
    """

    def __init__(self, service: Service, now: float) -> None:
        self._service = service
        self._since = now
        self._left = service.quota * service.window if service.window else service.depth

    def admits(self, now: float) -> bool:
        """Return whether a request is admitted now."""
        if not self._service.quota:
            return True
        self._fill(now)
        if self._left >= 1:
            self._left -= 1
            return True
        if self._service.throttling_costs:
            self._left = 0
        return False

    def _fill(self, now: float) -> None:
        service = self._service
        if not service.window:
            self._left = min(service.depth, self._left + (now - self._since) * service.quota)
            self._since = now
        elif now - self._since >= service.window:
            self._left = service.quota * service.window
            self._since += (now - self._since) // service.window * service.window


class _Texts(msgspec.Struct):
    texts: list[msgspec.Raw]


class _NativeRequest(msgspec.Struct):
    input: _Texts

    def count(self) -> int:
        return len(self.input.texts)


class _CompatibleRequest(msgspec.Struct):
    input: str | list[msgspec.Raw]
    encoding_format: str | None = None

    def count(self) -> int:
        return 1 if isinstance(self.input, str) else len(self.input)


_NATIVE_DECODER = msgspec.json.Decoder(_NativeRequest)
_COMPATIBLE_DECODER = msgspec.json.Decoder(_CompatibleRequest)


class _Server:
    """The state that all connections share."""

    def __init__(self, service: Service, now: float) -> None:
        self.latency = service.latency
        self._native = native_responses(service)
        self._compatible = compatible_responses(service)
        self._quota = Quota(service, now)
        self._statistics = Statistics()

    def statistics(self) -> bytes:
        return _served(msgspec.json.encode(self._statistics))

    def respond(self, compatible: bool, body: bytes, now: float) -> bytes:
        responses = self._compatible if compatible else self._native
        if not self._quota.admits(now):
            self._statistics.throttled += 1
            return responses.throttled
        try:
            if compatible:
                request = _COMPATIBLE_DECODER.decode(body)
                wants_base64 = request.encoding_format == "base64"
                by_count = responses.base64 if wants_base64 else responses.floats
                response = by_count[request.count()]
            else:
                response = responses.floats[_NATIVE_DECODER.decode(body).count()]
        except (msgspec.MsgspecError, IndexError):
            return _UNREADABLE
        self._statistics.served += 1
        return response


class _Connection(asyncio.Protocol):
    """One keep-alive connection. Clients send a request only after the response to the last one."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        # One write is one response, so there is no need to wait until the client reads.
        transport.set_write_buffer_limits(high=1 << 24)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if len(self._received) > _MOST_REQUEST_BYTES and self._transport is not None:
            self._transport.abort()
            return
        if head_end < 0:
            return
        length = _CONTENT_LENGTH.search(self._received, 0, head_end)
        body = self._received[head_end + 4 :]
        if length and len(body) < int(length[1]):
            return
        head, self._received = self._received[:head_end], b""
        if head.startswith(b"GET "):
            self._send(self._server.statistics())
            return
        compatible = head.startswith(b"POST " + COMPATIBLE.encode())
        response = self._server.respond(compatible, body, self._loop.time())
        if self._server.latency:
            self._loop.call_later(self._server.latency, self._send, response)
        else:
            self._send(response)

    def _send(self, response: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(response)


async def serve(service: Service) -> None:
    """Print the port and serve until standard input ends, as it does when the parent exits.

    Raises:
        TimeoutError: After an hour.
    """
    loop = asyncio.get_running_loop()
    shared = _Server(service, loop.time())
    server = await loop.create_server(lambda: _Connection(shared), HOST, 0, backlog=1024)
    parent_exited = asyncio.Event()

    def wait_for_parent() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        loop.call_soon_threadsafe(parent_exited.set)

    threading.Thread(target=wait_for_parent, daemon=True).start()
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.wait_for(parent_exited.wait(), _LONGEST_LIFE)


def main() -> None:
    """Serve; see `Stub`, which starts this."""
    service = msgspec.json.decode(sys.argv[1], type=Service)
    with contextlib.suppress(asyncio.TimeoutError):
        asyncio.run(serve(service))


if __name__ == "__main__":
    main()

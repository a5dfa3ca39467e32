"""A stub of the service in a process of its own, so cheap that it is the client which is measured.

It knows nothing of the texts: it counts them and sends an answer that was rendered beforehand. What
the service would really answer is the emulator's business (`qwen_embed.emulator`).
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import subprocess
import sys
from pathlib import Path
from types import TracebackType

import msgspec
from typing_extensions import Self

HOST = "127.0.0.1"
PATH = "/api/v1/services/embeddings/text-embedding/text-embedding"
DIMENSION = 1024
MOST_TEXTS = 25

_TOKENS_PER_TEXT = 60
_CHUNK_BYTES = 16 * 1024
_HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Type: application/json\r\n"
    b"X-Request-Id: 1ba94ac8-e058-99bc-9cc1-7fdb37940a46\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_REFUSAL = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Stub:
    """The stub as a context manager: its process lives as long as the block.

    Args:
        latency: Seconds between a request's last byte and the first byte of its answer.

    Attributes:
        native_url: The root of the native protocol, for `base_url`.

    Example:
        >>> with Stub(latency=0) as service:
        ...     service.native_url.endswith("/api/v1")
        True
    """

    def __init__(self, latency: float = 0.1) -> None:
        self.native_url = ""
        self._latency = latency
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), "--latency", str(self._latency)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        if not port:
            raise RuntimeError("The stub did not start; its error is above.")
        self.native_url = f"http://{HOST}:{port}/api/v1"
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


def vectors() -> list[list[float]]:
    """Return the rows of every answer: the text at place `i` of a request gets row `i`."""
    source = random.Random(1024)  # noqa: S311 -- the same rows in every process
    return [[source.gauss(0, DIMENSION**-0.5) for _ in range(DIMENSION)] for _ in range(MOST_TEXTS)]


def render_answers() -> list[bytes]:
    """Return whole HTTP answers by their number of rows, from 1; the first is a refusal.

    Floats are printed with all their digits and bodies are sent in chunks, as the service does: 10
    rows are 217 KB.
    """
    rows = [
        b'{"text_index":%d,"embedding":%s}' % (index, msgspec.json.encode(vector))
        for index, vector in enumerate(vectors())
    ]
    return [_REFUSAL, *(_HEAD + _chunked(_body(rows[:count])) for count in range(1, len(rows) + 1))]


def _body(rows: list[bytes]) -> bytes:
    return (
        b'{"output":{"embeddings":[%s]},"usage":{"total_tokens":%d},'
        b'"request_id":"1ba94ac8-e058-99bc-9cc1-7fdb37940a46"}'
    ) % (b",".join(rows), _TOKENS_PER_TEXT * len(rows))


def _chunked(body: bytes) -> bytes:
    starts = range(0, len(body), _CHUNK_BYTES)
    pieces = (body[start : start + _CHUNK_BYTES] for start in starts)
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


class _Input(msgspec.Struct):
    texts: list[msgspec.Raw]


class _Request(msgspec.Struct):
    input: _Input


_DECODER = msgspec.json.Decoder(_Request)


class _Connection(asyncio.Protocol):
    """One keep-alive connection. Clients send a request only after the last one's answer."""

    def __init__(self, answers: list[bytes], latency: float) -> None:
        self._answers = answers
        self._latency = latency
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        # One write is one answer: nothing is to be gained from waiting until the client reads.
        transport.set_write_buffer_limits(high=1 << 24)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        length = _CONTENT_LENGTH.search(self._received, 0, head_end)
        body = self._received[head_end + 4 :]
        if length and len(body) < int(length[1]):
            return
        self._received = b""
        answer = self._answer(body)
        if self._latency:
            asyncio.get_running_loop().call_later(self._latency, self._send, answer)
        else:
            self._send(answer)

    def _answer(self, body: bytes) -> bytes:
        try:
            return self._answers[len(_DECODER.decode(body).input.texts)]
        except (msgspec.MsgspecError, IndexError):
            return self._answers[0]

    def _send(self, answer: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)


async def serve(latency: float) -> None:
    """Print the port and serve until standard input ends, as it does when the parent is gone."""
    answers = render_answers()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(answers, latency), HOST, 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    """Serve; see `Stub`, which starts this."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.1, help="seconds (%(default)s)")
    asyncio.run(serve(parser.parse_args().latency))


if __name__ == "__main__":
    main()

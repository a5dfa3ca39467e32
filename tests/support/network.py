"""Servers on loopback, in front of the emulator or in its place."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from urllib.parse import urlsplit

from qwen_embed.emulator import Emulator

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def port_of(service: Emulator) -> int:
    return urlsplit(service.native_url).port


@contextlib.contextmanager
def serving(handle: Handler, *, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve connections on a free port, in a separate thread; yield the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await handle(reader, writer)
        finally:
            writer.close()

    async def stop() -> None:
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # connections are closed in the loop's next round

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    starting = asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    server = asyncio.run_coroutine_threadsafe(starting, loop).result()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def relay_to(port: int, first: bytes = b"") -> Handler:
    """Relay bytes to and from a port until one side closes."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_there, to_there = await asyncio.open_connection("127.0.0.1", port)
        to_there.write(first)
        await asyncio.gather(_pass_on(reader, to_there), _pass_on(from_there, writer))

    return relay


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while block := await reader.read(1 << 16):
            writer.write(block)
            await writer.drain()
    finally:
        writer.close()


class ForwardProxy:
    """An HTTP proxy that resolves made-up hosts.

    Args:
        ports: The port of each host.
        credentials: `user:password` that it asks for, or `None`.

    Attributes:
        heads: The first request's head of each connection.
    """

    def __init__(self, ports: Mapping[str, int], credentials: str | None = None) -> None:
        self.heads: list[str] = []
        self._ports = ports
        self._credentials = credentials

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        method, target, _ = head.split(" ", 2)
        if self._credentials and basic(self._credentials) not in head:
            length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
            await reader.readexactly(int(length[1]) if length else 0)
            refusal = "407 Proxy Authentication Required\r\nConnection: close\r\nContent-Length: 0"
            writer.write(f"HTTP/1.1 {refusal}\r\n\r\n".encode())
            return
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        port = self._ports[urlsplit(target if "://" in target else f"//{target}").hostname]
        await relay_to(port, b"" if method == "CONNECT" else head.encode())(reader, writer)


def basic(credentials: str) -> str:
    return "Basic " + base64.b64encode(credentials.encode()).decode()

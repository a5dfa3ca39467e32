"""The default transport: redirects, endless responses, credentials from other sources."""

from __future__ import annotations

import contextlib
import threading
import tracemalloc
import zlib

import pytest

from qwen_embed import InvalidResponseError, QwenEmbedder, ServiceError
from qwen_embed.emulator import Emulator
from qwen_embed.protocols.native import PATH
from tests.support.interfaces import API_KEY
from tests.support.network import serving

MIB = 1 << 20
REDIRECTS = [301, 302, 303, 307, 308]


@pytest.mark.parametrize("status", REDIRECTS)
def test_a_redirect_to_another_host_is_not_followed_with_the_key(service, status):
    with Emulator(api_key=API_KEY) as elsewhere:
        service.fail_next(status=status, code="", headers={"Location": elsewhere.native_url + PATH})

        with pytest.raises(
            ServiceError, match=f"{status}: Redirected to host 127.0.0.1; .*base_url"
        ):
            QwenEmbedder(api_key=API_KEY, base_url=service.native_url).embed_query("a")

        assert (len(service.requests), elsewhere.requests) == (1, [])


@pytest.mark.parametrize("status", REDIRECTS)
def test_a_redirect_within_the_host_is_not_followed_either(service, status):
    service.fail_next(status=status, code="Throttling", headers={"Location": PATH})

    with pytest.raises(ServiceError, match=f"{status}: Redirected to another address"):
        QwenEmbedder(api_key=API_KEY, base_url=service.native_url).embed_query("a")

    assert len(service.requests) == 1


def answer_of(head, *blocks, endlessly=False):
    """Return a handler that sends this response, and an event set when the connection ends."""
    ended = threading.Event()

    async def handle(reader, writer):
        with contextlib.suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
            for block in blocks:
                writer.write(block)
                await writer.drain()
            while endlessly:
                writer.write(blocks[-1])
                await writer.drain()
            await reader.read()
        ended.set()

    return handle, ended


def rejected_as_too_large(port, **options):
    with QwenEmbedder(api_key=API_KEY, base_url=f"http://127.0.0.1:{port}", **options) as embedder:
        with pytest.raises(InvalidResponseError, match="larger than 64 MiB"):
            embedder.embed_query("a")
        assert embedder.usage.requests == 1


def test_an_endless_response_is_aborted():
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    handle, ended = answer_of(b"Transfer-Encoding: chunked", chunk, endlessly=True)
    with serving(handle) as port:
        rejected_as_too_large(port)

        assert ended.wait(5)


def test_a_response_that_announces_too_many_bytes_is_aborted_at_once():
    handle, ended = answer_of(b"Content-Length: %d" % (65 * MIB))
    with serving(handle) as port:
        rejected_as_too_large(port)

        assert ended.wait(5)


def test_a_small_response_that_decompresses_to_a_large_one_does_not_fill_the_memory():
    packing = zlib.compressobj(wbits=31)
    first = packing.compress(bytes(MIB)) + packing.flush(zlib.Z_FULL_FLUSH)
    another = packing.compress(bytes(MIB)) + packing.flush(zlib.Z_FULL_FLUSH)
    bomb = first + 4095 * another
    head = b"Content-Encoding: gzip\r\nContent-Length: %d" % len(bomb)
    handle, ended = answer_of(head, bomb)
    with serving(handle) as port:
        tracemalloc.start()
        try:
            rejected_as_too_large(port, gzip=True)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert ended.wait(5)
    assert peak < 200 * MIB


def test_a_netrc_file_does_not_replace_the_key(service, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("default login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    QwenEmbedder(api_key=API_KEY, base_url=service.native_url).embed_query("a")

    assert service.requests[0].api_key == API_KEY


def test_connections_are_kept_alive_and_reused(service):
    service.latency = 0.01
    with QwenEmbedder(api_key=API_KEY, base_url=service.native_url, max_concurrency=4) as embedder:
        for _ in range(5):
            embedder.embed_documents([f"text {n}" for n in range(100)])

    assert len({request.client for request in service.requests}) <= 4

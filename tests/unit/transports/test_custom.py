"""A transport of the user's: any object with its two methods."""

from __future__ import annotations

import asyncio
import pickle

import pytest
from pydantic import SecretStr, ValidationError

from qwen_embed import ConnectionFailedError, QwenEmbedder, RequestTimeoutError
from qwen_embed.transports.base import Response, Transport
from qwen_embed.transports.custom import CustomTransport

BODY = b'{"output": {"embeddings": [{"text_index": 0, "embedding": [0.5, 1.5]}]}}'


class Canned:
    """Answers every request alike, and notes it."""

    def __init__(self, answer=lambda: Response(200, {}, BODY)):
        self.requests = []
        self.closed = False
        self._answer = answer

    async def post(self, path, body):
        self.requests.append((path, body))
        return self._answer()

    async def aclose(self):
        self.closed = True


def test_requests_go_through_it_and_it_stays_open():
    transport = Canned()

    with QwenEmbedder(transport=transport) as embedder:  # without a key: that is its affair
        vectors = embedder.embed_documents(["The wind rises."]).dense

    assert vectors.tolist() == [[0.5, 1.5]]
    assert transport.requests == [
        (
            "/services/embeddings/text-embedding/text-embedding",
            b'{"model":"text-embedding-v4","input":{"texts":["The wind rises."]},'
            b'"parameters":{"text_type":"document"}}',
        )
    ]
    assert isinstance(transport, Transport)
    assert not transport.closed


def fail():
    raise OSError("gone, with sk-0123456789")


async def test_its_exceptions_are_failed_connections_without_the_key():
    transport = CustomTransport(Canned(fail), api_key=SecretStr("sk-0123456789"), timeout=1.0)

    with pytest.raises(ConnectionFailedError, match=r"OSError: gone, with \*\*\*"):
        await transport.post("/path", b"")


async def test_it_is_held_to_the_time_limit():
    class Slow(Canned):
        async def post(self, path, body):
            await asyncio.sleep(60)

    transport = CustomTransport(Slow(), api_key=SecretStr(""), timeout=0.01)

    with pytest.raises(RequestTimeoutError, match=r"within 0\.01 seconds"):
        await transport.post("/path", b"")


def test_what_is_no_transport_is_rejected_by_name():
    with pytest.raises(ValidationError, match="post and aclose"):
        QwenEmbedder(transport=object())


def test_a_copy_shares_it_and_a_pickle_is_refused_by_name():
    transport = Canned()
    embedder = QwenEmbedder(transport=transport)

    assert embedder.model_copy(update={"dimension": 64}).transport is transport
    with pytest.raises(TypeError, match="your own transport"):
        pickle.dumps(embedder)

"""The public interfaces to the core, so that shared behaviour is tested once for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from langchain_qwen_embed import QwenEmbeddings
from llamaindex_qwen_embed import QwenEmbedding
from qwen_embed import QwenEmbedder
from qwen_embed.emulator import Emulator

API_KEY = "sk-0123456789abcdef-secret"

Rows = list[list[float]]


@dataclass(frozen=True)
class Interface:
    """One public interface to the core."""

    name: str
    make: Callable[..., Any]
    documents: Callable[[Any, list[str]], Rows]
    query: Callable[[Any, str], list[float]]

    def __call__(self, service: Emulator, **options: Any) -> Any:
        return self.make(**{"api_key": API_KEY, "base_url": service.native_url, **options})


INTERFACES = [
    Interface(
        "core",
        QwenEmbedder,
        lambda core, texts: core.embed_documents(texts).dense.tolist(),
        lambda core, text: core.embed_query(text).dense[0].tolist(),
    ),
    Interface(
        "core-async",
        QwenEmbedder,
        lambda core, texts: asyncio.run(core.aembed_documents(texts)).dense.tolist(),
        lambda core, text: asyncio.run(core.aembed_query(text)).dense[0].tolist(),
    ),
    Interface(
        "langchain",
        QwenEmbeddings,
        lambda embeddings, texts: embeddings.embed_documents(texts),
        lambda embeddings, text: embeddings.embed_query(text),
    ),
    Interface(
        "langchain-async",
        QwenEmbeddings,
        lambda embeddings, texts: asyncio.run(embeddings.aembed_documents(texts)),
        lambda embeddings, text: asyncio.run(embeddings.aembed_query(text)),
    ),
    Interface(
        "llamaindex",
        QwenEmbedding,
        lambda embedding, texts: embedding.get_text_embedding_batch(texts),
        lambda embedding, text: embedding.get_query_embedding(text),
    ),
    Interface(
        "llamaindex-async",
        QwenEmbedding,
        lambda embedding, texts: asyncio.run(embedding.aget_text_embedding_batch(texts)),
        lambda embedding, text: asyncio.run(embedding.aget_query_embedding(text)),
    ),
]

one_interface_per_package = pytest.mark.parametrize(
    "interface",
    [
        interface
        for interface in INTERFACES
        if interface.name in ("core", "langchain", "llamaindex-async")
    ],
    ids=lambda interface: interface.name,
)
"""Instead of all interfaces, for slow tests of behaviour that is in the shared core."""

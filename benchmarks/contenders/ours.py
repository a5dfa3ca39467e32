"""The ways into this package. Each loads its adapter when opened, as a program does."""

# ruff: noqa: PLC0415

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stub import NATIVE

import qwen_embed.session  # noqa: F401 -- loaded with the first call else: aiohttp and numpy
from contenders.contender import API_KEY, MODEL, Contender, Embed, Rows


def settings(root: str, **options: Any) -> dict[str, Any]:
    """Return the options of a client of the service at a root; those given go first."""
    return {"model": MODEL, "api_key": API_KEY, "base_url": root + NATIVE, **options}


@contextmanager
def langchain_sync(root: str, **options: Any) -> Iterator[Embed]:
    """Open LangChain's `embed_documents`."""
    from langchain_qwen_embed import QwenEmbeddings

    with QwenEmbeddings(**settings(root, **options)) as embeddings:
        yield embeddings.embed_documents


@contextmanager
def langchain_async(root: str, **options: Any) -> Iterator[Embed]:
    """Open LangChain's `aembed_documents`."""
    from langchain_qwen_embed import QwenEmbeddings

    with QwenEmbeddings(**settings(root, **options)) as embeddings:
        yield lambda texts: asyncio.run(embeddings.aembed_documents(texts))


@contextmanager
def llamaindex_sync(root: str, **options: Any) -> Iterator[Embed]:
    """Open LlamaIndex's `get_text_embedding_batch`."""
    from llamaindex_qwen_embed import QwenEmbedding

    with QwenEmbedding(**settings(root, **options)) as embedding:
        yield embedding.get_text_embedding_batch


@contextmanager
def core_sync(root: str, **options: Any) -> Iterator[Embed]:
    """Open the core's `embed_documents`, which makes a float32 array."""
    from qwen_embed import QwenEmbedder

    with QwenEmbedder(**settings(root, **options)) as embedder:

        def embed(texts: list[str]) -> Rows:
            rows = embedder.embed_documents(texts).dense
            assert rows is not None
            return rows

        yield embed


SYNC = Contender("LangChain embed_documents", langchain_sync)
AEMBED = Contender("LangChain aembed_documents", langchain_async)
LLAMAINDEX = Contender("LlamaIndex get_text_embedding_batch", llamaindex_sync)
ARRAY = Contender("QwenEmbedder, float32 array", core_sync)
OURS = [SYNC, AEMBED, LLAMAINDEX, ARRAY]

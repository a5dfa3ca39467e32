"""The interfaces of this package. Each loads its adapter when opened, as a program does."""

# ruff: noqa: PLC0415

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stub import COMPATIBLE, NATIVE

import qwen_embed.runtime.session  # noqa: F401 -- loads aiohttp and numpy before the first call
from contenders.contender import API_KEY, MODEL, Contender, Embed, Rows


def settings(root: str, **options: Any) -> dict[str, Any]:
    """Return the options of a client of the service at a root; `options` take precedence."""
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
        yield lambda texts: _dense(embedder.embed_documents(texts).dense)


def compatible(root: str) -> dict[str, Any]:
    """Return the options of the OpenAI-compatible protocol."""
    return {"base_url": root + COMPATIBLE, "query_template": "{query}"}


@contextmanager
def packed(root: str, **options: Any) -> Iterator[Embed]:
    """Open the core by the OpenAI-compatible protocol, which packs numbers as base64."""
    with core_sync(root, **compatible(root), **options) as embed:
        yield embed


@contextmanager
def packed_lists(root: str, **options: Any) -> Iterator[Embed]:
    """Open LangChain's `embed_documents` by the OpenAI-compatible protocol."""
    with langchain_sync(root, **compatible(root), **options) as embed:
        yield embed


@contextmanager
def over_dashscope(root: str) -> Iterator[Embed]:
    """Open the core over the official SDK's client."""
    import dashscope

    from qwen_embed import QwenEmbedder

    client = dashscope.Client(api_key=API_KEY, base_url=root + NATIVE)
    with QwenEmbedder(model=MODEL, client=client) as embedder:
        yield lambda texts: _dense(embedder.embed_documents(texts).dense)
    client.close()


@contextmanager
def over_openai(root: str) -> Iterator[Embed]:
    """Open the core over OpenAI's client."""
    import openai

    from qwen_embed import QwenEmbedder

    client = openai.OpenAI(api_key=API_KEY, base_url=root + COMPATIBLE)
    with QwenEmbedder(model=MODEL, client=client, query_template="{query}") as embedder:
        yield lambda texts: _dense(embedder.embed_documents(texts).dense)
    client.close()


def _dense(rows: Rows | None) -> Rows:
    assert rows is not None
    return rows


SYNC = Contender("LangChain embed_documents", langchain_sync)
AEMBED = Contender("LangChain aembed_documents", langchain_async)
LLAMAINDEX = Contender("LlamaIndex get_text_embedding_batch", llamaindex_sync)
ARRAY = Contender("QwenEmbedder, float32 array", core_sync)
PACKED = Contender("QwenEmbedder, float32 array, protocol openai", packed)
PACKED_LISTS = Contender("LangChain embed_documents, protocol openai", packed_lists)
OVER_DASHSCOPE = Contender("QwenEmbedder over dashscope.Client", over_dashscope)
OVER_OPENAI = Contender("QwenEmbedder over openai.OpenAI", over_openai)
OURS = [
    SYNC,
    AEMBED,
    LLAMAINDEX,
    ARRAY,
    PACKED,
    PACKED_LISTS,
    OVER_DASHSCOPE,
    OVER_OPENAI,
]

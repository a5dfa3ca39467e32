"""Other clients of the service. Each loads its packages when opened, so the others run without."""

# ruff: noqa: PLC0415

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from stub import COMPATIBLE, NATIVE

from contenders.contender import (
    API_KEY,
    IN_FLIGHT,
    MODEL,
    TEXTS_PER_REQUEST,
    Contender,
    Embed,
    Rows,
    gathered,
    threaded,
)


@contextmanager
def langchain_dashscope(root: str) -> Iterator[Embed]:
    """Open `DashScopeEmbeddings`, which sends one request after the other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # langchain-community announces its deprecation
        import dashscope
        from langchain_community.embeddings import DashScopeEmbeddings

        dashscope.base_http_api_url = root + NATIVE
        yield DashScopeEmbeddings(model=MODEL, dashscope_api_key=API_KEY).embed_documents


@contextmanager
def llamaindex_dashscope(root: str) -> Iterator[Embed]:
    """Open LlamaIndex's `DashScopeEmbedding`, which sends one request after the other."""
    import dashscope
    from llama_index.embeddings.dashscope import DashScopeEmbedding

    dashscope.base_http_api_url = root + NATIVE
    yield DashScopeEmbedding(
        model_name=MODEL, api_key=API_KEY, embed_batch_size=TEXTS_PER_REQUEST
    ).get_text_embedding_batch


@contextmanager
def dashscope_threads(root: str) -> Iterator[Embed]:
    """Open the official SDK's `Client`, called from threads."""
    import dashscope

    client = dashscope.Client(api_key=API_KEY, base_url=root + NATIVE)

    def embed(request: list[str]) -> Rows:
        rows = client.embeddings.create(model=MODEL, input=request).embeddings
        return [row.embedding for row in sorted(rows, key=lambda row: row.index)]

    yield lambda texts: threaded(texts, embed)
    client.close()


@contextmanager
def langchain_openai(root: str, **model_options: str) -> Iterator[Embed]:
    """Open LangChain's `OpenAIEmbeddings`, its async calls gathered; alone it sends one by one."""
    from langchain_openai import OpenAIEmbeddings
    from pydantic import SecretStr

    embeddings = OpenAIEmbeddings(
        model=MODEL,
        api_key=SecretStr(API_KEY),
        base_url=root + COMPATIBLE,
        check_embedding_ctx_length=False,
        chunk_size=TEXTS_PER_REQUEST,
        model_kwargs=model_options,
    )
    yield lambda texts: asyncio.run(gathered(texts, embeddings.aembed_documents))


@contextmanager
def llamaindex_openai(root: str) -> Iterator[Embed]:
    """Open LlamaIndex's `OpenAILikeEmbedding` with async workers; alone it sends one by one."""
    from llama_index.embeddings.openai_like import OpenAILikeEmbedding

    embedding = OpenAILikeEmbedding(
        model_name=MODEL,
        api_key=API_KEY,
        api_base=root + COMPATIBLE,
        embed_batch_size=TEXTS_PER_REQUEST,
        num_workers=IN_FLIGHT,
    )
    yield lambda texts: asyncio.run(embedding.aget_text_embedding_batch(texts))


@contextmanager
def rust(root: str, array: bool) -> Iterator[Embed]:
    """Open the Rust client, for an array or for lists.

    Its retry budget is raised: by default it gives up when one request in twenty needs a retry.
    """
    from baseten_performance_client import PerformanceClient, RequestProcessingPreference

    client = PerformanceClient(root + COMPATIBLE.removesuffix("/v1"), API_KEY)
    preference = RequestProcessingPreference(
        max_concurrent_requests=IN_FLIGHT,
        batch_size=TEXTS_PER_REQUEST,
        max_chars_per_request=1_000_000,
        retry_budget_pct=3.0,
    )

    def embed(texts: list[str]) -> Rows:
        response: Any = client.embed(texts, model=MODEL, preference=preference)
        return response.numpy() if array else [row.embedding for row in response.data]

    yield embed


RUST_ARRAY = Contender("Rust client, numpy", partial(rust, array=True))
SDK_THREADS = Contender("dashscope Client, threads", dashscope_threads, texts=2_000)
DASHSCOPE = Contender(
    "DashScopeEmbeddings (LangChain)", langchain_dashscope, texts=1_000, serial=True
)
OPENAI = Contender("OpenAIEmbeddings (LangChain)", langchain_openai, texts=5_000)
OPENAI_LIKE = Contender("OpenAILikeEmbedding (LlamaIndex)", llamaindex_openai, texts=5_000)
PEERS = [
    RUST_ARRAY,
    Contender("Rust client, lists", partial(rust, array=False)),
    SDK_THREADS,
    DASHSCOPE,
    Contender("DashScopeEmbedding (LlamaIndex)", llamaindex_dashscope, texts=1_000, serial=True),
    OPENAI,
    Contender(
        "OpenAIEmbeddings, floats requested",
        partial(langchain_openai, encoding_format="float"),
        texts=500,
    ),
    OPENAI_LIKE,
]

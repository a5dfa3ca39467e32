"""Qwen text embeddings for LangChain."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_qwen_embed.embeddings import QwenEmbeddings
    from langchain_qwen_embed.sparse_embeddings import QwenSparseEmbeddings

__all__ = ["QwenEmbeddings", "QwenSparseEmbeddings"]


def __getattr__(name: str) -> Any:
    # As in langchain-core: nothing is loaded until a name is used.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from langchain_qwen_embed import embeddings  # noqa: PLC0415

    return getattr(embeddings, name)


def __dir__() -> list[str]:
    return __all__

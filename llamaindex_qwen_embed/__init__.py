"""Qwen text embeddings for LlamaIndex."""

from llamaindex_qwen_embed.embedding import QwenEmbedding
from llamaindex_qwen_embed.events import EmbeddingUsageEvent
from llamaindex_qwen_embed.sparse_embedding import QwenSparseEmbedding

__all__ = ["EmbeddingUsageEvent", "QwenEmbedding", "QwenSparseEmbedding"]

"""Qwen text embeddings for LlamaIndex."""

from llamaindex_qwen_embed.embedding import QwenEmbedding

__all__ = ["QwenEmbedding"]

"""LM Studio as a server of Qwen3-Embedding, as far as its behaviour is known."""

from __future__ import annotations

from collections.abc import Mapping

from qwen_embed.emulator.dialects.request import EmbeddingRequest
from qwen_embed.emulator.dialects.vllm import Vllm
from qwen_embed.models import Model


class LmStudio(Vllm):
    """The dialect of LM Studio.

    It ignores `dimensions` (lmstudio-ai/lms#300, QwenLM/Qwen3-Embedding#101), and it ignores
    `encoding_format` and prints numbers (lmstudio-ai/lmstudio-bug-tracker#756). Everything else,
    error responses included, is unknown and assumed to be as with vLLM.
    """

    def read(self, body: object, models: Mapping[str, Model]) -> EmbeddingRequest:
        """Return the request in a body; see `Vllm.read`."""
        if isinstance(body, dict):
            ignored = ("dimensions", "encoding_format")
            body = {name: value for name, value in body.items() if name not in ignored}
        return super().read(body, models)

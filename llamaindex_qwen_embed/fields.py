"""What LlamaIndex's dense and sparse base classes have as fields, joined to the options."""

from __future__ import annotations

from pydantic import Field, model_validator
from typing_extensions import Self

from qwen_embed.client import EmbedderBase


class LlamaIndexFields(EmbedderBase):
    """The fields that LlamaIndex reads, for both of its bases."""

    model_name: str = "unknown"
    """The option `model` under LlamaIndex's name."""

    embed_batch_size: int = Field(default=1920, gt=0, le=2048, exclude=True)
    """Texts that LlamaIndex hands over at a time, in sync code one hand-over after the other. Not
    the size of a request, which is `batch_size`: this is six times 32 requests of 10 texts."""

    num_workers: int | None = Field(default=None, exclude=True)
    """How many hand-overs LlamaIndex runs side by side in async code; requests are bounded by
    `max_concurrency` whatever this says."""

    @model_validator(mode="after")
    def _name_model_once(self) -> Self:
        if "model" in self.model_fields_set and self.model_name not in ("unknown", self.model):
            raise ValueError(f"model={self.model!r} and model_name={self.model_name!r} differ.")
        self.__dict__["model_name"] = self.model
        return self

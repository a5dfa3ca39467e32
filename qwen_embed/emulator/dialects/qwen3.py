"""The open-weight Qwen3-Embedding models, whatever serves them: names, sizes, and query format.

Dimensions, the context length of 32K tokens and the query format are from the model cards
(`Qwen/Qwen3-Embedding-0.6B`, `-4B` and `-8B` on Hugging Face).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qwen_embed.emulator.dialects.request import DOCUMENT, EmbeddingRequest, EncodingFormat, Role
from qwen_embed.emulator.dialects.rules import default_dimension
from qwen_embed.emulator.tokens import count_tokens
from qwen_embed.models import Model

QWEN3_MODELS = {
    model.name: model
    for model in (
        Model(
            name=f"Qwen/Qwen3-Embedding-{size}",
            default_dimension=dimension,
            texts_per_request=32,
            tokens_per_text=32_768,
            sparse=False,
        )
        for size, dimension in (("0.6B", 1024), ("4B", 2560), ("8B", 4096))
    )
}
"""The models that a server has; the first is its default.

The cap on texts per request is the default of Text Embeddings Inference
(`--max-client-batch-size`); the other servers have no cap.
"""

_SIZE = re.compile(r"qwen3-embedding[-:](0\.6b|4b|8b)", re.IGNORECASE)
_QUERY = re.compile(r"Instruct: ?(?P<task>[^\n]*)\nQuery: ?(?P<query>.+)", re.DOTALL)
_END = "<|endoftext|>"


@dataclass(frozen=True)
class Input:
    """One text of a request, as sent, and its number of tokens."""

    text: str
    tokens: int


def find_served(name: object, models: Mapping[str, Model]) -> Model | None:
    """Return the model for a name, or `None`.

    The operator of a server chooses the name; any name that contains the model's size is accepted.

    Example:
        >>> find_served("text-embedding-qwen3-embedding-8b", QWEN3_MODELS).default_dimension
        4096
    """
    if not isinstance(name, str):
        return None
    if name in models:
        return models[name]
    size = _SIZE.search(name)
    return models.get(f"Qwen/Qwen3-Embedding-{size[1].upper()}") if size else None


def read_inputs(value: object) -> list[Input] | None:
    """Return the texts of `input`: a text, a list of texts, or token ids; `None` for anything else.

    Clients send ids of another vocabulary (OpenAI's), so they are embedded as wrong text here too:
    as their digits.
    """
    if isinstance(value, str) or _is_token_ids(value):
        value = [value]
    if not isinstance(value, list):
        return None
    inputs = []
    for item in value:
        if isinstance(item, str):
            inputs.append(Input(item, count_tokens(item) or 1))
        elif _is_token_ids(item):
            inputs.append(Input(" ".join(map(str, item)), len(item)))
        else:
            return None
    return inputs


def read_prompt(text: str) -> tuple[str, Role]:
    r"""Return the text to embed and its role, which is read from the text itself.

    A query has the format `Instruct: {task}\nQuery:{query}`; any other text is a document. For a
    blank text only the end token is embedded, which is an assumption.

    Example:
        >>> read_prompt("Instruct: Find it\nQuery:a cat")
        ('a cat', Role(text_type='query', instruct='Find it'))
        >>> read_prompt("a cat")
        ('a cat', Role(text_type='document', instruct=None))
    """
    match = _QUERY.fullmatch(text)
    if match is None or count_tokens(match["query"]) == 0:
        return (text if count_tokens(text) else _END), DOCUMENT
    return match["query"], Role("query", match["task"].strip() or None)


def request_of(
    model: Model, inputs: Sequence[Input], dimension: int, encoding_format: EncodingFormat
) -> EmbeddingRequest:
    """Return the request for vectors that are truncated from the model's full length."""
    texts, roles = zip(*(read_prompt(item.text) for item in inputs), strict=True)
    return EmbeddingRequest(
        model=model,
        texts=texts,
        roles=roles,
        dimension=dimension,
        tokens=sum(item.tokens for item in inputs),
        encoding_format=encoding_format,
        truncated_from=default_dimension(model),
    )


def _is_token_ids(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, int) and not isinstance(item, bool) for item in value)
    )

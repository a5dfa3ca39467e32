"""The open-weight Qwen3-Embedding behind any server: its sizes, its names, how its texts are read.

Lengths of vectors, the context of 32K tokens and the form of a query are those of its model cards
(`Qwen/Qwen3-Embedding-0.6B` and its sisters on Hugging Face).
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
"""The models that a server has, the one first that it means where it is not told.

The cap of texts is the default of Text Embeddings Inference (`--max-client-batch-size`); the other
servers have none.
"""

_SIZE = re.compile(r"qwen3-embedding[-:](0\.6b|4b|8b)", re.IGNORECASE)
_QUERY = re.compile(r"Instruct: ?(?P<task>[^\n]*)\nQuery: ?(?P<query>.+)", re.DOTALL)
_END = "<|endoftext|>"


@dataclass(frozen=True)
class Input:
    """One text of a request as it was sent, and how many tokens it has."""

    text: str
    tokens: int


def find_served(name: object, models: Mapping[str, Model]) -> Model | None:
    """Return the row of the model that a name means, or `None`.

    Servers let whoever starts them choose the name; one that says the size is understood.

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


def read_inputs(given: object) -> list[Input] | None:
    """Return the texts of `input`: one, a list, or token ids; `None` for anything else.

    No client knows the vocabulary here, so token ids mean something else than what was meant. They
    are read as their digits.
    """
    if isinstance(given, str) or _is_tokens(given):
        given = [given]
    if not isinstance(given, list):
        return None
    inputs = []
    for each in given:
        if isinstance(each, str):
            inputs.append(Input(each, count_tokens(each) or 1))
        elif _is_tokens(each):
            inputs.append(Input(" ".join(map(str, each)), len(each)))
        else:
            return None
    return inputs


def read_prompt(text: str) -> tuple[str, Role]:
    r"""Return what is to be embedded and its role, which the text itself tells.

    A query is written `Instruct: {task}\nQuery:{query}`, a document as it is. Of a blank text a
    server embeds the end alone: an assumption of ours.

    Example:
        >>> read_prompt("Instruct: Find it\nQuery:a cat")
        ('a cat', Role(text_type='query', instruct='Find it'))
        >>> read_prompt("a cat")
        ('a cat', Role(text_type='document', instruct=None))
    """
    found = _QUERY.fullmatch(text)
    if found is None or count_tokens(found["query"]) == 0:
        return (text if count_tokens(text) else _END), DOCUMENT
    return found["query"], Role("query", found["task"].strip() or None)


def request_of(
    model: Model, inputs: Sequence[Input], dimension: int, encoding_format: EncodingFormat
) -> EmbeddingRequest:
    """Return the request for vectors that are cut from the model's own."""
    texts, roles = zip(*(read_prompt(each.text) for each in inputs), strict=True)
    return EmbeddingRequest(
        model=model,
        texts=texts,
        roles=roles,
        dimension=dimension,
        tokens=sum(each.tokens for each in inputs),
        encoding_format=encoding_format,
        truncated_from=default_dimension(model),
    )


def _is_tokens(given: object) -> bool:
    return (
        isinstance(given, list)
        and bool(given)
        and all(isinstance(each, int) and not isinstance(each, bool) for each in given)
    )

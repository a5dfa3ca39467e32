"""The models of the service, and permissive defaults for a name that is not in the table.

Limits and prices are those of the service's documentation in November 2026. They change: the limit
of texts per request of `text-embedding-v3` has been 6, 20 and 10. They are therefore only initial
values: an unknown name works, and a smaller limit that the service names in an error is adopted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_DOCUMENTED = "2026-11"
"""The year and month of the documentation that limits and prices were taken from."""


@dataclass(frozen=True)
class RateLimits:
    """The quota of an account for one model.

    Attributes:
        requests_per_minute: Requests per minute.
        tokens_per_minute: Tokens per minute.
    """

    requests_per_minute: float
    tokens_per_minute: float


@dataclass(frozen=True)
class Model:
    """Limits, abilities and prices of one embedding model.

    Attributes:
        name: The name sent to the service.
        dimensions: Dimensions that a dense vector may have; empty if not known.
        default_dimension: The dimension if a request names none; `None` if not known.
        texts_per_request: Maximum texts per request.
        tokens_per_text: Maximum tokens per text; `None` if not known.
        sparse: Whether the model has sparse vectors.
        instruct: Whether the model follows an instruction sent with a query.
        usd_per_million_tokens: List price in Singapore; `None` if not offered or not known.
        cny_per_million_tokens: List price in Beijing; `None` if not known.
        prices_as_of: The year and month in which the prices were looked up, such as `"2026-11"`.
        rate_limits: The quotas that the service publishes, by region. An account may have others.
    """

    name: str
    dimensions: tuple[int, ...] = ()
    default_dimension: int | None = None
    texts_per_request: int = 10
    tokens_per_text: int | None = None
    sparse: bool = True
    instruct: bool = True
    usd_per_million_tokens: float | None = None
    cny_per_million_tokens: float | None = None
    prices_as_of: str = _DOCUMENTED
    rate_limits: Mapping[str, RateLimits] = field(default_factory=dict)


MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model(
            name="qwen3.7-text-embedding",
            dimensions=(2560, 2048, 1536, 1024, 768, 512, 256),
            default_dimension=1024,
            texts_per_request=20,
            tokens_per_text=128_000,
            usd_per_million_tokens=0.07,
            cny_per_million_tokens=0.5,
        ),
        Model(
            name="qwen3.7-text-embedding-flash",
            dimensions=(1024, 768, 512, 256),
            default_dimension=1024,
            texts_per_request=20,
            tokens_per_text=128_000,
            cny_per_million_tokens=0.125,
        ),
        Model(
            name="text-embedding-v4",
            dimensions=(2048, 1536, 1024, 768, 512, 256, 128, 64),
            default_dimension=1024,
            texts_per_request=10,
            tokens_per_text=8_192,
            usd_per_million_tokens=0.07,
            cny_per_million_tokens=0.5,
            rate_limits={
                "cn-beijing": RateLimits(1_800, 1_200_000),
                "ap-southeast-1": RateLimits(1_800, 1_000_000),
                "cn-hongkong": RateLimits(1_800, 1_000_000),
            },
        ),
        Model(
            name="text-embedding-v3",
            dimensions=(1024, 768, 512, 256, 128, 64),
            default_dimension=1024,
            texts_per_request=10,
            tokens_per_text=8_192,
            instruct=False,
            usd_per_million_tokens=0.07,
            cny_per_million_tokens=0.5,
            rate_limits={"ap-southeast-1": RateLimits(6_000, 24_000_000)},
        ),
        Model(
            name="text-embedding-v2",
            dimensions=(1536,),
            default_dimension=1536,
            texts_per_request=25,
            tokens_per_text=2_048,
            sparse=False,
            instruct=False,
            cny_per_million_tokens=0.7,
            rate_limits={"cn-beijing": RateLimits(1_800, 600_000)},
        ),
        Model(
            name="text-embedding-v1",
            dimensions=(1536,),
            default_dimension=1536,
            texts_per_request=25,
            tokens_per_text=2_048,
            sparse=False,
            instruct=False,
            cny_per_million_tokens=0.7,
        ),
    )
}


_OPEN_WEIGHTS = re.compile(r"qwen3[-_]?embedding(?:\D*(0\.6|4|8)b)?", re.IGNORECASE)
_OPEN_WEIGHTS_DIMENSIONS = {"0.6": 1024, "4": 2560, "8": 4096}

QUERY_TEMPLATE = "Instruct: {task}\nQuery:{query}"
"""The form of queries that Qwen3-Embedding was trained on; documents have no such form."""

WEB_SEARCH = "Given a web search query, retrieve relevant passages that answer the query"
"""The default task in Qwen3-Embedding's own configuration."""


def has_open_weights(name: str) -> bool:
    """Return whether a server's model name means a Qwen3-Embedding model.

    Example:
        >>> has_open_weights("Qwen/Qwen3-Embedding-0.6B"), has_open_weights("qwen3-embedding:4b")
        (True, True)
        >>> has_open_weights("text-embedding-v4")
        False
    """
    return _OPEN_WEIGHTS.search(name) is not None


def _open_weights(name: str) -> Model | None:
    found = _OPEN_WEIGHTS.search(name)
    if found is None:
        return None
    return Model(
        name=name,
        default_dimension=_OPEN_WEIGHTS_DIMENSIONS.get(found[1] or ""),
        texts_per_request=32,
        tokens_per_text=32_768,
        sparse=False,
    )


def find_model(name: str) -> Model:
    """Return what the table has for a model, or permissive defaults for an unknown name.

    Example:
        >>> find_model("text-embedding-v4").texts_per_request
        10
        >>> find_model("a-model-of-tomorrow").dimensions
        ()
    """
    return MODELS.get(name) or _open_weights(name) or Model(name=name)

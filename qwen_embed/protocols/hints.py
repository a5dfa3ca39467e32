"""What the user can do about an error response, as the hint of the error."""

from __future__ import annotations

from qwen_embed.config.endpoints import (
    REGION_ALIASES,
    ROOTS,
    SHARED_HOSTS,
    belongs_to_service,
)
from qwen_embed.errors import (
    AuthenticationError,
    ModelNotFoundError,
    ModerationError,
    PermissionDeniedError,
    RateLimitError,
    ServiceError,
    TextRejectedError,
    UnsupportedDimensionError,
)
from qwen_embed.types import ProtocolName

# The first entry whose class an error has applies.
_HINTS: tuple[tuple[type[ServiceError], str], ...] = (
    (
        AuthenticationError,
        "The request went to {where}. A key belongs to one region: for a key of another region, "
        "pass region= or set DASHSCOPE_REGION to one of {others}.",
    ),
    (
        PermissionDeniedError,
        "The account may not use {model} at {root}: check its rights and bills there.",
    ),
    (ModelNotFoundError, "{where} does not offer {model!r} to this account."),
    (
        UnsupportedDimensionError,
        "Set a dimension that {model} supports, or none. For a self-hosted server that rejects "
        "`dimensions`, set truncate_locally=True, or start vLLM with --hf-overrides "
        "'{{\"is_matryoshka\": true}}'.",
    ),
    (ModerationError, "Remove the text or rephrase it."),
    (TextRejectedError, "If the text is too long, split it into smaller chunks, or set long_text."),
    (RateLimitError, "Lower max_concurrency, or apply for a larger quota."),
)
_REDIRECTED = (
    "The request went to {root}. If you trust the other address with the key, set base_url to it."
)
_WRONG_PATH = (
    "The request went to {root} with the {protocol} protocol. Check that this is the protocol's "
    "root; the service's ends in {ending}."
)
_SELF_HOSTED_KEY = (
    "The request went to {root}. Pass the key that this server expects as api_key: "
    "DASHSCOPE_API_KEY is sent to the service only."
)


def hint_for(
    error: ServiceError, *, model: str, root: str, region: str | None, protocol: ProtocolName
) -> str | None:
    """Return what the user can do about an error, or `None` if its message says enough.

    Args:
        error: The error of the response.
        model: The model of the request.
        root: The root that the request went to.
        region: The region of that root.
        protocol: The protocol of the request.
    """
    hint = next((text for kind, text in _HINTS if isinstance(error, kind)), None)
    if isinstance(error, AuthenticationError) and not belongs_to_service(root, protocol):
        hint = _SELF_HOSTED_KEY
    if hint is None and error.status_code in (404, 405):
        hint = _WRONG_PATH
    if hint is None and 300 <= error.status_code < 400:
        hint = _REDIRECTED
    if hint is None:
        return None
    others = ", ".join(name for name in (*SHARED_HOSTS, *REGION_ALIASES) if name != region)
    of_service = belongs_to_service(root, protocol)
    return hint.format(
        model=model,
        root=root,
        where=f"{root} (region {region})" if of_service else root,
        others=others,
        protocol=protocol,
        ending=ROOTS[protocol],
    )

"""What to do about a refusal, in a sentence that the error carries."""

from __future__ import annotations

from qwen_embed.config.endpoints import (
    REGION_ALIASES,
    ROOTS,
    SHARED_HOSTS,
    speaks_for_service,
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

# In order: an error takes the first line whose class it has.
_ADVICE: tuple[tuple[type[ServiceError], str], ...] = (
    (
        AuthenticationError,
        "Asked {where}. A key belongs to one region: for a key of another, pass "
        "region= or set DASHSCOPE_REGION to one of {others}.",
    ),
    (
        PermissionDeniedError,
        "The account may not use {model} at {root}: check its rights and bills there.",
    ),
    (ModelNotFoundError, "{where} does not offer {model!r} to this account."),
    (
        UnsupportedDimensionError,
        "Ask for a dimension that {model} makes, or for none. A server of your own that refuses "
        "`dimensions`: set truncate_locally=True, or start vLLM with --hf-overrides "
        "'{{\"is_matryoshka\": true}}'.",
    ),
    (ModerationError, "Leave the text out, or rephrase it."),
    (TextRejectedError, "If the text is too long, split it into smaller chunks, or set long_text."),
    (RateLimitError, "Lower max_concurrency, or ask for a larger quota."),
)
_REDIRECTED = (
    "Asked {root}: set base_url to the address that answers, if you trust it with the key."
)
_WRONG_PATH = (
    "Asked {root} by the {protocol} protocol: is that its root? The service's ends in {ending}."
)
_OWN_SERVER_KEY = (
    "Asked {root}: give the key that this server expects as api_key. DASHSCOPE_API_KEY is sent to "
    "the service only."
)


def hint_for(
    error: ServiceError, *, model: str, root: str, region: str | None, protocol: ProtocolName
) -> str | None:
    """Return what the user can do about a refusal, or `None` where the message says it all.

    Args:
        error: The refusal.
        model: The model that was asked for.
        root: The address that was asked.
        region: The region that was asked.
        protocol: The protocol that was spoken.
    """
    advice = next((text for kind, text in _ADVICE if isinstance(error, kind)), None)
    if isinstance(error, AuthenticationError) and not speaks_for_service(root, protocol):
        advice = _OWN_SERVER_KEY
    if advice is None and error.status_code in (404, 405):
        advice = _WRONG_PATH
    if advice is None and 300 <= error.status_code < 400:
        advice = _REDIRECTED
    if advice is None:
        return None
    others = ", ".join(name for name in (*SHARED_HOSTS, *REGION_ALIASES) if name != region)
    of_service = speaks_for_service(root, protocol)
    return advice.format(
        model=model,
        root=root,
        where=f"{root} (region {region})" if of_service else root,
        others=others,
        protocol=protocol,
        ending=ROOTS[protocol],
    )

"""What to do about a refusal, in a sentence that the error carries."""

from __future__ import annotations

from qwen_embed.endpoints import REGION_ALIASES, SHARED_HOSTS
from qwen_embed.errors import (
    AccessError,
    AuthenticationError,
    ModelNotFoundError,
    ModerationError,
    RateLimitError,
    ServiceError,
    TextRefusedError,
)

# In order: an error takes the first line whose class it has.
_ADVICE: tuple[tuple[type[ServiceError], str], ...] = (
    (
        AuthenticationError,
        "Asked {root} (region {region}). A key belongs to one region: for a key of another, pass "
        "region= or set DASHSCOPE_REGION to one of {others}.",
    ),
    (AccessError, "The account may not use {model} at {root}: check its rights and bills there."),
    (ModelNotFoundError, "{root} (region {region}) does not offer {model!r} to this account."),
    (ModerationError, "Leave the text out, or rephrase it."),
    (TextRefusedError, "If the text is too long, split it into smaller chunks, or set long_text."),
    (RateLimitError, "Lower max_concurrency, or ask for a larger quota."),
)
_REDIRECTED = (
    "Asked {root}: set base_url to the address that answers, if you trust it with the key."
)
_WRONG_PATH = "Asked {root}: is that the root of the native protocol, which ends in /api/v1?"


def advise(error: ServiceError, *, model: str, root: str, region: str | None) -> str | None:
    """Return what the user can do about a refusal, or `None` where the message says it all.

    Args:
        error: The refusal.
        model: The model that was asked for.
        root: The address that was asked.
        region: The region that was asked.
    """
    advice = next((text for kind, text in _ADVICE if isinstance(error, kind)), None)
    if advice is None and error.status_code in (404, 405):
        advice = _WRONG_PATH
    if advice is None and 300 <= error.status_code < 400:
        advice = _REDIRECTED
    if advice is None:
        return None
    others = ", ".join(name for name in (*SHARED_HOSTS, *REGION_ALIASES) if name != region)
    return advice.format(model=model, root=root, region=region, others=others)

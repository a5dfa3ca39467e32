"""Warnings issued when an object is created, at the user's line that creates it."""

from __future__ import annotations

import sys
import warnings
from urllib.parse import urlsplit

from qwen_embed.config import endpoints
from qwen_embed.errors import InsecureHttpWarning, QueryRoleWarning

_INTERNAL = ("qwen_embed", "langchain_qwen_embed", "llamaindex_qwen_embed", "pydantic")
_warned_hosts: set[str] = set()


def warn_about_http(root: str, *, keyed: bool) -> None:
    """Warn, once per host and process, that the connection is not encrypted."""
    parts = urlsplit(root)
    host = parts.hostname or ""
    if parts.scheme == "https" or endpoints.is_loopback(root) or host in _warned_hosts:
        return
    warnings.warn(
        f"base_url is an http:// address: {'the API key and ' if keyed else ''}all texts go to "
        f"{host} unencrypted. Use https:// if the host supports it.",
        InsecureHttpWarning,
        stacklevel=_user_level(),
    )
    _warned_hosts.add(host)


def warn_about_query_role(root: str) -> None:
    """Warn that queries are embedded like documents.

    Args:
        root: The root of the OpenAI-compatible protocol.
    """
    remedy = "If the model expects queries in a special form, set query_template."
    if endpoints.belongs_to_service(root, "openai"):
        other = endpoints.with_ending(root, "native")
        remedy = f"The service's native protocol distinguishes them: base_url={other!r}."
    warnings.warn(
        f"The OpenAI-compatible protocol has no roles, so queries are embedded like documents. "
        f"{remedy} If this is intended, set query_template='{{query}}'.",
        QueryRoleWarning,
        stacklevel=_user_level(),
    )


def _user_level() -> int:
    """Return the stack level of the user's own line, as seen from the calling function."""
    level = 1
    frame = sys._getframe(1)  # noqa: SLF001 -- documented, in spite of its name
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in _INTERNAL:
        frame = frame.f_back
        level += 1
    return level

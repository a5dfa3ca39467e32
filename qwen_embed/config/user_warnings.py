"""Warnings that an object gives when it is made, at the line of the user's that made it."""

from __future__ import annotations

import sys
import warnings
from urllib.parse import urlsplit

from qwen_embed.config import endpoints
from qwen_embed.errors import InsecureHttpWarning, QueryRoleWarning

_NOT_THE_USERS = ("qwen_embed", "langchain_qwen_embed", "llamaindex_qwen_embed", "pydantic")
_hosts_warned_of: set[str] = set()


def warn_of_plain_http(root: str, *, keyed: bool) -> None:
    """Warn once for each host of the process that what is sent can be read on the way."""
    parts = urlsplit(root)
    host = parts.hostname or ""
    if parts.scheme == "https" or endpoints.is_loopback(root) or host in _hosts_warned_of:
        return
    warnings.warn(
        f"base_url is an http:// address: {'the API key and ' if keyed else ''}all texts go to "
        f"{host} unencrypted. Use https:// where the host offers it.",
        InsecureHttpWarning,
        stacklevel=_users_level(),
    )
    _hosts_warned_of.add(host)


def warn_of_lost_roles(root: str) -> None:
    """Warn that queries are embedded as documents are.

    Args:
        root: The root of the OpenAI-compatible protocol that is asked.
    """
    remedy = "If the model wants queries in a form of their own, give query_template."
    if endpoints.speaks_for_service(root, "openai"):
        other = endpoints.with_ending(root, "native")
        remedy = f"The service's native protocol tells them apart: base_url={other!r}."
    warnings.warn(
        f"The OpenAI-compatible protocol has no roles, so queries are embedded as documents are. "
        f"{remedy} query_template='{{query}}' says that this is meant.",
        QueryRoleWarning,
        stacklevel=_users_level(),
    )


def _users_level() -> int:
    """Return the stack level of the user's own line, as seen from the function that calls this."""
    level = 1
    frame = sys._getframe(1)  # noqa: SLF001 -- public in all but its name
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in _NOT_THE_USERS:
        frame = frame.f_back
        level += 1
    return level

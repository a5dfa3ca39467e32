"""The user's own SDK client: which it is, and what it knows. Imports neither SDK."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qwen_embed.types import ProtocolName

_KINDS: dict[tuple[str, str], tuple[ProtocolName, bool]] = {
    ("dashscope", "Client"): ("native", False),
    ("dashscope", "AsyncClient"): ("native", True),
    ("openai", "OpenAI"): ("openai", False),
    ("openai", "AsyncOpenAI"): ("openai", True),
}


@dataclass(frozen=True)
class SdkClient:
    """A client and what is known of it.

    Attributes:
        client: The client.
        protocol: The protocol that it speaks.
        asynchronous: Whether its calls are awaited.
        root: The root that it asks.
        key: The key that it sends; empty where it has none.
    """

    client: Any
    protocol: ProtocolName
    asynchronous: bool
    root: str
    key: str


def recognise(client: Any) -> SdkClient:
    """Return what is known of a client.

    Raises:
        ValueError: If it is none that can be used.
    """
    for kind in type(client).__mro__:
        found = _KINDS.get((kind.__module__.partition(".")[0], kind.__name__))
        if found is not None:
            protocol, asynchronous = found
            known = client.config if protocol == "native" else client
            key = known.api_key if isinstance(known.api_key, str) else ""
            return SdkClient(client, protocol, asynchronous, str(known.base_url).rstrip("/"), key)
    raise ValueError(
        f"client must be a dashscope.Client, dashscope.AsyncClient, openai.OpenAI or "
        f"openai.AsyncOpenAI, not {type(client).__name__}."
    )

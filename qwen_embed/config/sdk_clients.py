"""Recognizes the user's own SDK client and reads its settings. Imports neither SDK."""

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
    """A client and its settings.

    Attributes:
        client: The client.
        protocol: The protocol that it uses.
        asynchronous: Whether its calls are awaited.
        root: The root to which it sends requests.
        key: The key that it sends; empty if it has none.
    """

    client: Any
    protocol: ProtocolName
    asynchronous: bool
    root: str
    key: str


def recognize(client: Any) -> SdkClient:
    """Return a client with its settings.

    Raises:
        ValueError: If it is not a client of a supported class.
    """
    for kind in type(client).__mro__:
        found = _KINDS.get((kind.__module__.partition(".")[0], kind.__name__))
        if found is not None:
            protocol, asynchronous = found
            config = client.config if protocol == "native" else client
            key = config.api_key if isinstance(config.api_key, str) else ""
            return SdkClient(client, protocol, asynchronous, str(config.base_url).rstrip("/"), key)
    raise ValueError(
        f"client must be a dashscope.Client, dashscope.AsyncClient, openai.OpenAI or "
        f"openai.AsyncOpenAI, not {type(client).__name__}."
    )

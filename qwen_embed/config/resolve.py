"""Resolves the connection: options, environment and defaults to protocol, root and key.

A pure function: the environment and the official SDK's module are passed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from qwen_embed.config.endpoints import (
    API_KEY_VARIABLE,
    WORKSPACE_VARIABLE,
    Endpoint,
    find_endpoint,
    implied_protocol,
    root_of_module,
)
from qwen_embed.models import has_open_weights
from qwen_embed.types import ProtocolName


@dataclass(frozen=True)
class Given:
    """The options of a connection as the user passed them; `None` if omitted."""

    model: str
    protocol: ProtocolName | None = None
    base_url: str | None = None
    region: str | None = None
    workspace: str | None = None
    api_key: SecretStr | None = None


@dataclass(frozen=True)
class Connection:
    """Where and how requests are sent.

    Attributes:
        protocol: The protocol.
        base_url: Its root.
        region: The region called, as far as it is known.
        workspace: The workspace to send as a header, or `None`.
        api_key: The key to send, or `None`.
    """

    protocol: ProtocolName
    base_url: str
    region: str
    workspace: str | None
    api_key: SecretStr | None


def resolve(
    given: Given,
    environment: Mapping[str, str],
    sdk: object = None,
    *,
    needs_key: bool = True,
) -> Connection:
    """Return the connection for options, the environment, and settings of the official SDK.

    Args:
        given: The options.
        environment: The environment variables.
        sdk: The module `dashscope`, or `None` if the program has not imported it.
        needs_key: Whether a missing key is an error; the user's own transport may have its own.

    Raises:
        ValueError: If an option is missing or invalid; the message says what to set.

    Example:
        >>> connection = resolve(Given("text-embedding-v4"), {"DASHSCOPE_API_KEY": "sk-..."})
        >>> connection.base_url, connection.region
        ('https://dashscope.aliyuncs.com/api/v1', 'cn-beijing')
    """
    open_weights = has_open_weights(given.model)
    if open_weights and given.base_url is None:
        raise ValueError(
            f"The service does not offer {given.model}: set base_url to the server that does."
        )
    protocol = given.protocol or implied_protocol(given.base_url, open_weights=open_weights)
    workspace = given.workspace or environment.get(WORKSPACE_VARIABLE) or None
    endpoint = find_endpoint(
        protocol,
        base_url=given.base_url,
        region=given.region,
        workspace=workspace,
        env=environment,
        module_url=root_of_module(sdk),
    )
    return Connection(
        protocol=protocol,
        base_url=endpoint.root,
        region=endpoint.region,
        workspace=workspace if endpoint.of_service else None,
        api_key=_find_key(given, endpoint, environment, sdk, needs_key=needs_key),
    )


def _find_key(
    given: Given,
    endpoint: Endpoint,
    environment: Mapping[str, str],
    sdk: object,
    *,
    needs_key: bool,
) -> SecretStr | None:
    key = (given.api_key.get_secret_value() if given.api_key else "").strip()
    if not key and endpoint.of_service:
        of_module = getattr(sdk, "api_key", None)
        key = environment.get(API_KEY_VARIABLE, "").strip()
        key = key or (of_module.strip() if isinstance(of_module, str) else "")
        if not key and needs_key:
            raise ValueError(
                f"no API key: set {API_KEY_VARIABLE} or pass `api_key`. To try without a key, "
                f"start the emulator: python -m qwen_embed.emulator"
            )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ValueError("`api_key` contains spaces, control or non-ASCII characters.")
    return SecretStr(key) if key else None

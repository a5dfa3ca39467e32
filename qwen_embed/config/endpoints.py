"""Endpoints of the service: regions, workspaces, environment variables, and the resulting root.

Hosts and variables are those of the official SDK, `dashscope` 2.x.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from qwen_embed.types import ProtocolName

DEFAULT_REGION = "cn-beijing"
REGION_ALIASES = {"intl": "ap-southeast-1"}

_INTERNATIONAL = "https://dashscope-intl.aliyuncs.com"
SHARED_HOSTS = {
    "cn-beijing": "https://dashscope.aliyuncs.com",
    "ap-southeast-1": _INTERNATIONAL,
    "cn-hongkong": "https://cn-hongkong.dashscope.aliyuncs.com",
    "us-east-1": _INTERNATIONAL,
    "eu-central-1": _INTERNATIONAL,
    "ap-northeast-1": _INTERNATIONAL,
}
WORKSPACE_HOST = "https://{workspace}.{region}.maas.aliyuncs.com"
NATIVE_ROOT = "/api/v1"
COMPATIBLE_ROOT = "/compatible-mode/v1"
ROOTS: dict[ProtocolName, str] = {"native": NATIVE_ROOT, "openai": COMPATIBLE_ROOT}
_SELF_HOSTED_ROOT = "/v1"
"""The root of the OpenAI-compatible protocol on self-hosted servers."""

API_KEY_VARIABLE = "DASHSCOPE_API_KEY"
BASE_URL_VARIABLES = ("DASHSCOPE_BASE_URL", "DASHSCOPE_HTTP_BASE_URL")
REGION_VARIABLE = "DASHSCOPE_REGION"
WORKSPACE_VARIABLE = "DASHSCOPE_WORKSPACE"


@dataclass(frozen=True)
class Endpoint:
    """Where requests are sent.

    Attributes:
        root: The protocol's root.
        region: The region called, as far as it is known.
        of_service: Whether it belongs to the service, or to a gateway to it or an emulator of it,
            and may therefore get the service's key. A self-hosted server does not.
    """

    root: str
    region: str
    of_service: bool


def implied_protocol(base_url: str | None, *, open_weights: bool) -> ProtocolName:
    """Return the protocol that follows from an address and a model.

    Args:
        base_url: The user's `base_url`, or `None`.
        open_weights: Whether the model has open weights and is therefore self-hosted.

    Example:
        >>> implied_protocol("http://127.0.0.1:8000/v1", open_weights=False)
        'openai'
        >>> implied_protocol(None, open_weights=False)
        'native'
    """
    try:
        path = urlsplit((base_url or "").strip().rstrip("/")).path
    except ValueError:  # reported when the address is validated
        path = ""
    other_root = re.search(r"/v\d+$", path) and not path.endswith(NATIVE_ROOT)
    return "openai" if open_weights or other_root else "native"


def find_endpoint(
    protocol: ProtocolName,
    *,
    base_url: str | None,
    region: str | None,
    workspace: str | None,
    env: Mapping[str, str],
    module_url: str | None = None,
) -> Endpoint:
    """Return the endpoint of a protocol.

    Options take precedence over the environment, and a root over the region. A root from the
    environment serves both protocols: its path is replaced by that of `protocol`.

    Args:
        protocol: The protocol.
        base_url: The user's `base_url`, or `None`.
        region: The user's `region`, or `None`.
        workspace: The workspace from the user or the environment, or `None`.
        env: The environment variables.
        module_url: The root that the program has set in the official SDK's module, or `None`. It
            takes precedence over the default region only.

    Raises:
        ValueError: If the region or the root is invalid; the message names valid ones.
    """
    requested = region or env.get(REGION_VARIABLE)
    if workspace:
        _check_workspace(workspace)
    if base_url is not None:
        root = _checked_root(base_url, protocol)
        return Endpoint(root, _region(requested, root), belongs_to_service(root, protocol))
    configured = None
    if not region:
        configured = next((env[name] for name in BASE_URL_VARIABLES if env.get(name)), None)
        configured = configured or (None if requested else module_url)
    if configured is not None:
        root = _checked_root(with_ending(configured, protocol), protocol)
        return Endpoint(root, _region(requested, root), of_service=True)
    name = _region(requested, "")
    if workspace:
        host = WORKSPACE_HOST.format(workspace=workspace, region=_checked_region(name))
        return Endpoint(host + ROOTS[protocol], name, of_service=True)
    if name not in SHARED_HOSTS:
        known = ", ".join([*SHARED_HOSTS, *REGION_ALIASES])
        raise ValueError(
            f"region {name!r} has no shared host: set it to one of {known}, or set `workspace` or "
            f"`base_url`."
        )
    return Endpoint(SHARED_HOSTS[name] + ROOTS[protocol], name, of_service=True)


def region_of(root: str) -> str:
    """Return the region of a root's host, or the default region if that is not known."""
    return _region(None, root)


def root_of_module(module: object) -> str | None:
    """Return the root that the program has set in the official SDK, or `None`.

    Args:
        module: The module `dashscope`, or `None` if the program has not imported it.
    """
    root = getattr(module, "base_http_api_url", None)
    env = getattr(getattr(module, "common", None), "env", None)
    # The module has a default root: only a changed one comes from the program.
    return root if root != getattr(env, "base_http_api_url", None) else None


def with_ending(root: str, protocol: ProtocolName) -> str:
    """Return a root of the service with the path of another protocol; other roots unchanged."""
    stripped = root.strip().rstrip("/")
    for ending in ROOTS.values():
        if stripped.endswith(ending):
            return stripped.removesuffix(ending) + ROOTS[protocol]
    return root


def _region(requested: str | None, root: str) -> str:
    """Return the requested region, otherwise that of the root's host, otherwise the default."""
    if requested:
        return REGION_ALIASES.get(requested, requested)
    host = urlsplit(root).hostname or ""
    of_workspace = re.fullmatch(r"[^.]+\.([^.]+)\.maas\.aliyuncs\.com", host)
    if of_workspace:
        return of_workspace[1]
    shared = (name for name, address in SHARED_HOSTS.items() if urlsplit(address).hostname == host)
    return next(shared, DEFAULT_REGION)


def _check_workspace(workspace: str) -> None:
    # It becomes part of the host name and a header: other characters could redirect the key.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", workspace):
        raise ValueError(
            "workspace must be the id shown in the console: letters, digits, _ and - only."
        )


def _checked_region(region: str) -> str:
    # As with the workspace. A region that is not listed here may be a new one.
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", region):
        raise ValueError(
            f"region must be a name like {DEFAULT_REGION!r}: lower-case letters, digits and - only."
        )
    return region


def _checked_root(base_url: str, protocol: ProtocolName) -> str:
    root = base_url.strip().rstrip("/")
    try:
        parts = urlsplit(root)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # for example a port that is not a number
        usable = False
    if not usable:
        raise ValueError("base_url must be an http:// or https:// address with a host.")
    if parts.username or parts.password:
        raise ValueError("base_url must not contain a user name or password.")
    if protocol == "native" and parts.path.endswith(COMPATIBLE_ROOT):
        raise ValueError(
            f"base_url ends in {COMPATIBLE_ROOT}, the root of the OpenAI-compatible protocol. For "
            f"the native one use the same host with {NATIVE_ROOT}; otherwise set protocol='openai'."
        )
    if protocol == "openai" and is_service(root) and parts.path.endswith(NATIVE_ROOT):
        raise ValueError(
            f"base_url ends in {NATIVE_ROOT}, the root of the native protocol, which distinguishes "
            f"queries from documents: omit protocol, or use the same host with {COMPATIBLE_ROOT}."
        )
    if parts.path:
        return root
    return root + (
        ROOTS[protocol] if protocol == "native" or is_service(root) else _SELF_HOSTED_ROOT
    )


def is_loopback(root: str) -> bool:
    """Return whether a root is on this machine."""
    host = urlsplit(root).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def belongs_to_service(root: str, protocol: ProtocolName) -> bool:
    """Return whether a root is the service's, or may be that of a gateway to it or an emulator."""
    return protocol == "native" or is_service(root) or root.endswith(COMPATIBLE_ROOT)


def is_service(root: str) -> bool:
    """Return whether a root is on one of the service's own hosts."""
    return (urlsplit(root).hostname or "").endswith(".aliyuncs.com")

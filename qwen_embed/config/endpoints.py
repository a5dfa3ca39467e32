"""Where the service answers: regions, workspaces, environment variables, and the root they give.

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
_OTHERS_ROOT = "/v1"
"""Where servers other than the service have the OpenAI-compatible protocol."""

API_KEY_VARIABLE = "DASHSCOPE_API_KEY"
BASE_URL_VARIABLES = ("DASHSCOPE_BASE_URL", "DASHSCOPE_HTTP_BASE_URL")
REGION_VARIABLE = "DASHSCOPE_REGION"
WORKSPACE_VARIABLE = "DASHSCOPE_WORKSPACE"


@dataclass(frozen=True)
class Endpoint:
    """Where requests go.

    Attributes:
        root: The protocol's root.
        region: The region asked, as far as it is known.
        of_service: Whether it is the service's, or a proxy's or an emulator's of it, so that it is
            meant to have the service's key. A server of one's own is not.
    """

    root: str
    region: str
    of_service: bool


def implied_protocol(base_url: str | None, *, open_weights: bool) -> ProtocolName:
    """Return the protocol that an address and a model speak of, where none was named.

    Args:
        base_url: The root that the user named, or `None`.
        open_weights: Whether the model is one that people serve themselves.

    Example:
        >>> implied_protocol("http://127.0.0.1:8000/v1", open_weights=False)
        'openai'
        >>> implied_protocol(None, open_weights=False)
        'native'
    """
    try:
        path = urlsplit((base_url or "").strip().rstrip("/")).path
    except ValueError:  # which is told of where the address is checked
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
    """Return where a protocol's requests go.

    What the user says goes before the environment, and a root goes before the region from which
    one would be derived. A root of the environment serves both protocols: its ending is exchanged.

    Args:
        protocol: The protocol.
        base_url: The root that the user named, or `None`.
        region: The region that the user named, or `None`.
        workspace: The workspace that the user or the environment named, or `None`.
        env: The environment variables.
        module_url: The root that the program gave the official SDK's module, or `None`; it goes
            before the default region only.

    Raises:
        ValueError: If the region or the root cannot be used; the message says what can.
    """
    asked = region or env.get(REGION_VARIABLE)
    if workspace:
        _check_workspace(workspace)
    if base_url is not None:
        root = _checked_root(base_url, protocol)
        return Endpoint(root, _region(asked, root), speaks_for_service(root, protocol))
    given = None
    if not region:
        given = next((env[name] for name in BASE_URL_VARIABLES if env.get(name)), None)
        given = given or (None if asked else module_url)
    if given is not None:
        root = _checked_root(with_ending(given, protocol), protocol)
        return Endpoint(root, _region(asked, root), of_service=True)
    named = _region(asked, "")
    if workspace:
        host = WORKSPACE_HOST.format(workspace=workspace, region=_checked_region(named))
        return Endpoint(host + ROOTS[protocol], named, of_service=True)
    if named not in SHARED_HOSTS:
        known = ", ".join([*SHARED_HOSTS, *REGION_ALIASES])
        raise ValueError(
            f"region {named!r} has no shared host; name one of {known}, or give "
            f"`workspace` or `base_url`."
        )
    return Endpoint(SHARED_HOSTS[named] + ROOTS[protocol], named, of_service=True)


def region_of(root: str) -> str:
    """Return the region whose host a root has, or the default where that is not known."""
    return _region(None, root)


def root_of_module(module: object) -> str | None:
    """Return the root that the program gave the official SDK, or `None` where it gave none.

    Args:
        module: The module `dashscope`, or `None` where the program has not imported it.
    """
    given = getattr(module, "base_http_api_url", None)
    env = getattr(getattr(module, "common", None), "env", None)
    # The module has a root from its import on: only one that was changed is the program's.
    return given if given != getattr(env, "base_http_api_url", None) else None


def with_ending(root: str, protocol: ProtocolName) -> str:
    """Return a root of the service with the ending of another protocol; others are left alone."""
    stripped = root.strip().rstrip("/")
    for ending in ROOTS.values():
        if stripped.endswith(ending):
            return stripped.removesuffix(ending) + ROOTS[protocol]
    return root


def _region(asked: str | None, root: str) -> str:
    """Return the region that was named, else the one whose host the root has, else the default."""
    if asked:
        return REGION_ALIASES.get(asked, asked)
    host = urlsplit(root).hostname or ""
    of_workspace = re.fullmatch(r"[^.]+\.([^.]+)\.maas\.aliyuncs\.com", host)
    if of_workspace:
        return of_workspace[1]
    shared = (name for name, address in SHARED_HOSTS.items() if urlsplit(address).hostname == host)
    return next(shared, DEFAULT_REGION)


def _check_workspace(workspace: str) -> None:
    # It becomes a part of the host's name and a header: anything else could send the key elsewhere.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", workspace):
        raise ValueError("workspace must be letters, digits, _ and -, as the console shows it.")


def _checked_region(region: str) -> str:
    # As with the workspace. One that is not listed here may be a new one.
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", region):
        raise ValueError(
            f"region must be a name such as {DEFAULT_REGION!r}: lower-case letters, digits and -."
        )
    return region


def _checked_root(base_url: str, protocol: ProtocolName) -> str:
    root = base_url.strip().rstrip("/")
    try:
        parts = urlsplit(root)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # such as a port that is no number
        usable = False
    if not usable:
        raise ValueError("base_url must be an http:// or https:// address with a host.")
    if parts.username or parts.password:
        raise ValueError("base_url must not hold a user name or password.")
    if protocol == "native" and parts.path.endswith(COMPATIBLE_ROOT):
        raise ValueError(
            f"base_url ends in {COMPATIBLE_ROOT}, the OpenAI-compatible protocol. For the native "
            f"one name the same host with {NATIVE_ROOT}; for the other, set protocol='openai'."
        )
    if protocol == "openai" and is_service(root) and parts.path.endswith(NATIVE_ROOT):
        raise ValueError(
            f"base_url ends in {NATIVE_ROOT}, the native protocol, which tells queries from "
            f"documents: leave protocol out, or name the same host with {COMPATIBLE_ROOT}."
        )
    if parts.path:
        return root
    return root + (ROOTS[protocol] if protocol == "native" or is_service(root) else _OTHERS_ROOT)


def is_loopback(root: str) -> bool:
    """Return whether a root is on this machine."""
    host = urlsplit(root).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def speaks_for_service(root: str, protocol: ProtocolName) -> bool:
    """Return whether a root is the service's, or may be a proxy's or an emulator's of it."""
    return protocol == "native" or is_service(root) or root.endswith(COMPATIBLE_ROOT)


def is_service(root: str) -> bool:
    """Return whether a root is the service's own, and not a proxy's or an emulator's."""
    return (urlsplit(root).hostname or "").endswith(".aliyuncs.com")

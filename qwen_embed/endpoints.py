"""Where the service answers: regions, workspaces, environment variables, and the root they give.

Hosts and variables are those of the official SDK, `dashscope` 2.x.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

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
_COMPATIBLE_ROOT = "/compatible-mode/v1"

API_KEY_VARIABLE = "DASHSCOPE_API_KEY"
BASE_URL_VARIABLES = ("DASHSCOPE_BASE_URL", "DASHSCOPE_HTTP_BASE_URL")
REGION_VARIABLE = "DASHSCOPE_REGION"
WORKSPACE_VARIABLE = "DASHSCOPE_WORKSPACE"


def native_root(
    *, base_url: str | None, region: str | None, workspace: str | None, env: Mapping[str, str]
) -> tuple[str, str]:
    """Return the root of the native protocol and the region asked.

    What the user says goes before the environment, and a root goes before the region from which
    one would be derived.

    Args:
        base_url: The root that the user named, or `None`.
        region: The region that the user named, or `None`.
        workspace: The workspace that the user or the environment named, or `None`.
        env: The environment variables.

    Raises:
        ValueError: If the region or the root cannot be used; the message says what can.
    """
    region_asked = region or env.get(REGION_VARIABLE) or DEFAULT_REGION
    region_asked = REGION_ALIASES.get(region_asked, region_asked)
    if base_url is None and region is None:
        base_url = next((env[name] for name in BASE_URL_VARIABLES if env.get(name)), None)
    if base_url is not None:
        return _checked_root(base_url), region_asked
    if workspace:
        host = WORKSPACE_HOST.format(workspace=workspace, region=region_asked)
        return host + NATIVE_ROOT, region_asked
    if region_asked not in SHARED_HOSTS:
        known = ", ".join([*SHARED_HOSTS, *REGION_ALIASES])
        raise ValueError(
            f"region {region_asked!r} has no shared host; name one of {known}, or give "
            f"`workspace` or `base_url`."
        )
    return SHARED_HOSTS[region_asked] + NATIVE_ROOT, region_asked


def _checked_root(base_url: str) -> str:
    root = base_url.strip().rstrip("/")
    parts = urlsplit(root)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("base_url must be an http:// or https:// address with a host.")
    if parts.username or parts.password:
        raise ValueError("base_url must not hold a user name or password.")
    if parts.path.endswith(_COMPATIBLE_ROOT):
        raise ValueError(
            f"base_url ends in {_COMPATIBLE_ROOT}, the OpenAI-compatible protocol, which tells no "
            f"queries from documents. Name the native root: the same host with {NATIVE_ROOT}."
        )
    return root if parts.path else root + NATIVE_ROOT


def is_loopback(root: str) -> bool:
    """Return whether a root is on this machine."""
    host = urlsplit(root).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_service(root: str) -> bool:
    """Return whether a root is the service's own, and not a proxy's or an emulator's."""
    return (urlsplit(root).hostname or "").endswith(".aliyuncs.com")

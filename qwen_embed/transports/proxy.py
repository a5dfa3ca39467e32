"""The proxy that the environment names for a host."""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from qwen_embed.config.endpoints import is_loopback
from qwen_embed.errors import InputError


def environment_proxy(root: str) -> str | None:
    """Return the proxy that the environment sets for a root (`HTTPS_PROXY`, `NO_PROXY`), or `None`.

    Looked up once per transport: aiohttp's own look-up starts two threads for every request, and
    lets a `.netrc` file replace the key.

    Raises:
        InputError: If the proxy is not an HTTP proxy.
    """
    parts = urlsplit(root)
    if is_loopback(root) or proxy_bypass(parts.netloc):
        return None
    proxy = getproxies().get(parts.scheme)
    if not proxy:
        return None
    scheme, found, _ = proxy.partition("://")
    if found and scheme not in ("http", "https"):
        raise InputError(
            f"{parts.scheme.upper()}_PROXY is set to a {scheme}:// proxy; only HTTP proxies are "
            f"supported. To use no proxy, add the service's host to NO_PROXY."
        )
    return proxy if found else f"http://{proxy}"

"""Sends bytes to the service and gets bytes back; knows nothing of vectors."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from qwen_embed.errors import ConnectionFailedError, RequestError, RequestTimeoutError
from qwen_embed.version import __version__

_KEEP_ALIVE_SECONDS = 60.0
_READ_BUFFER = 1 << 20
"""Bytes. An answer is some 220 KB, and reading should not pause within one."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Reply:
    """An HTTP answer: its status, headers and whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Transport(Protocol):
    """What the pipeline asks of anything that carries requests."""

    async def post(self, path: str, body: bytes) -> Reply:
        """Send a JSON body to `path` below the service's root and return the answer.

        Raises:
            ConnectionFailedError: If no whole answer came.
            RequestTimeoutError: If it did not come in time.
        """

    async def aclose(self) -> None:
        """Close all connections."""


class AiohttpTransport(Transport):
    """The default transport. Belongs to the event loop on which it first sends.

    Args:
        root: The service's root, without a slash at the end.
        api_key: The key; it goes into one header and nowhere else.
        workspace: The workspace's id, or `None`.
        timeout: Seconds for one request, from its sending to its last byte.
        connect_timeout: Seconds of them in which a connection must be there.
        gzip: Whether answers may come compressed.
        connections: The most open connections; all are kept alive.
    """

    def __init__(
        self,
        root: str,
        *,
        api_key: str,
        workspace: str | None,
        timeout: float,
        connect_timeout: float,
        gzip: bool,
        connections: int,
    ) -> None:
        self._root = root
        self._headers = {
            "Authorization": f"Bearer {api_key}",
            "Content-Type": "application/json",
            "Accept-Encoding": "gzip" if gzip else "identity",
            "User-Agent": f"qwen-embed/{__version__}",
        }
        if workspace:
            self._headers["X-DashScope-WorkSpace"] = workspace
        self._proxy = environment_proxy(root)
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def post(self, path: str, body: bytes) -> Reply:
        """Send a JSON body to `path` below the service's root and return the answer."""
        failure: RequestError
        try:
            # A redirect is not followed: the key would go along.
            async with self._open_session().post(
                self._root + path, data=body, allow_redirects=False, proxy=self._proxy
            ) as response:
                return Reply(response.status, response.headers, await response.read())
        except aiohttp.ConnectionTimeoutError:
            failure = RequestTimeoutError(
                f"No connection within {self._connect_timeout:g} seconds."
            )
        except asyncio.TimeoutError:
            failure = RequestTimeoutError(f"No whole answer within {self._timeout:g} seconds.")
        except (aiohttp.ClientError, OSError) as error:
            failure = ConnectionFailedError(f"{type(error).__name__}: {error}".rstrip(": "))
        # Raised here, outside the handler: the frames that hold the key's header stay out of it.
        raise failure

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections, keepalive_timeout=_KEEP_ALIVE_SECONDS
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=_READ_BUFFER,
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(
                    total=self._timeout, sock_connect=self._connect_timeout
                ),
            )
            weakref.finalize(
                self, _close_from_any_thread, asyncio.get_running_loop(), self._session
            ).atexit = False
        return self._session

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()


def environment_proxy(root: str) -> str | None:
    """Return the proxy that the environment names for a root (`HTTPS_PROXY`, `NO_PROXY`), if any.

    Asked once: aiohttp's own look-up starts two threads for every request, and lets a `.netrc` file
    take the place of the key.
    """
    parts = urlsplit(root)
    host = parts.hostname or ""
    if host in _LOOPBACK or proxy_bypass(host):
        return None
    return getproxies().get(parts.scheme)


def _close_from_any_thread(loop: asyncio.AbstractEventLoop, session: aiohttp.ClientSession) -> None:
    """Close a session whose transport was forgotten rather than closed."""
    if not session.closed and not loop.is_closed():
        loop.call_soon_threadsafe(lambda: loop.create_task(session.close()))

"""Sends bytes to the service and gets bytes back; knows nothing of vectors."""

from __future__ import annotations

import asyncio
import re
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from pydantic import SecretStr

from qwen_embed.config.endpoints import is_loopback
from qwen_embed.errors import (
    CertificateError,
    ConnectionFailedError,
    InputError,
    InvalidResponseError,
    RequestError,
    RequestTimeoutError,
)
from qwen_embed.version import __version__

_KEEP_ALIVE_SECONDS = 60.0
_READ_BUFFER = 1 << 20
"""Bytes. An answer is some 220 KB, and reading should not pause within one."""
_LARGEST_ANSWER = 64 << 20
"""Bytes, unpacked. The largest honest answer, 25 texts with both kinds of vectors, is some 2 MB."""
_LONGEST_REFUSAL = 1 << 16
_USER_INFO = re.compile(r"//[^/\s@]*@")
_SHORTEST_SECRET = 8
"""Characters. A shorter key is a placeholder, and may be part of any word."""
_TRUST = (
    "If the authority is your organisation's own, name a PEM file that holds its certificate in "
    "SSL_CERT_FILE before the program starts."
)


@dataclass(frozen=True)
class Response:
    """An HTTP answer: its status, headers and whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Transport(Protocol):
    """What the pipeline asks of anything that carries requests."""

    async def post(self, path: str, body: bytes) -> Response:
        """Send a JSON body to `path` below the service's root and return the answer.

        Raises:
            ConnectionFailedError: If no whole answer came.
            RequestTimeoutError: If it did not come in time.
            InvalidResponseError: If it is larger than any honest one.
        """

    async def aclose(self) -> None:
        """Close all connections."""


class AiohttpTransport(Transport):
    """The default transport. Belongs to the event loop on which it first sends.

    Args:
        root: The service's root, without a slash at the end.
        api_key: The key; it goes into one header and nowhere else. Empty where there is none.
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
        api_key: SecretStr,
        workspace: str | None,
        timeout: float,
        connect_timeout: float,
        gzip: bool,
        connections: int,
    ) -> None:
        self._root = root
        self._api_key = api_key
        # Given to each request: those of a session go to the proxy too, even before a tunnel.
        self._headers = _headers(api_key, workspace, gzip=gzip)
        self._proxy = environment_proxy(root)
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def post(self, path: str, body: bytes) -> Response:
        """Send a JSON body to `path` below the service's root and return the answer."""
        failure: RequestError
        try:
            # A redirect is not followed: the key would go along.
            async with self._open_session().post(
                self._root + path,
                data=body,
                headers=self._headers,
                allow_redirects=False,
                proxy=self._proxy,
            ) as response:
                answer = await _read(response)
                return Response(
                    response.status,
                    response.headers,
                    without_key(self._api_key, response.status, answer),
                )
        except aiohttp.ConnectionTimeoutError:
            failure = RequestTimeoutError(
                f"No connection within {self._connect_timeout:g} seconds."
            )
        except asyncio.TimeoutError:
            failure = RequestTimeoutError(f"No whole answer within {self._timeout:g} seconds.")
        except aiohttp.ClientConnectorCertificateError as error:
            failure = CertificateError(_certificate_fault(error), hint=_TRUST)
        except (aiohttp.ClientError, OSError) as error:
            failure = ConnectionFailedError(told(error, self._api_key))
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
            f"{parts.scheme.upper()}_PROXY names a proxy of kind {scheme}://; only HTTP proxies "
            f"can be used. To use none, name the service's host in NO_PROXY."
        )
    return proxy if found else f"http://{proxy}"


def _headers(api_key: SecretStr, workspace: str | None, *, gzip: bool) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "Accept-Encoding": "gzip" if gzip else "identity",
        "User-Agent": f"qwen-embed/{__version__}",
    }
    if api_key.get_secret_value():
        headers["Authorization"] = f"Bearer {api_key.get_secret_value()}"
    if workspace:
        headers["X-DashScope-WorkSpace"] = workspace
    return headers


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the body; one without end, or one that unpacks to one, ends the connection.

    `response.read()` would gather either until the memory is full.
    """
    chunks: list[bytes] = []
    size = 0
    announced = response.content_length or 0
    while max(size, announced) <= _LARGEST_ANSWER:
        chunk = await response.content.readany()
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
        size += len(chunk)
    response.close()
    raise InvalidResponseError(f"The answer is larger than {_LARGEST_ANSWER >> 20} MiB.")


def without_key(api_key: SecretStr, status: int, answer: bytes) -> bytes:
    """Return an answer with the key left out, since some gateways repeat a key that they refuse.

    They may do so with status 200, but not at the length of vectors.
    """
    refusal = status != 200 or len(answer) < _LONGEST_REFUSAL
    return _masked(api_key, answer) if refusal else answer


def _masked(api_key: SecretStr, answer: bytes) -> bytes:
    key = api_key.get_secret_value().encode()
    return answer.replace(key, b"***") if len(key) >= _SHORTEST_SECRET else answer


def told(error: Exception, api_key: SecretStr) -> str:
    """Return what an error says, without the key and the credentials of a proxy."""
    text = _USER_INFO.sub("//", f"{type(error).__name__}: {error}".rstrip(": "))
    return _masked(api_key, text.encode(errors="replace")).decode()


def _certificate_fault(error: aiohttp.ClientConnectorCertificateError) -> str:
    fault = error.certificate_error
    reason = getattr(fault, "verify_message", None) or str(fault)
    return f"The certificate of {error.host} could not be verified: {reason.rstrip('.')}."


def _close_from_any_thread(loop: asyncio.AbstractEventLoop, session: aiohttp.ClientSession) -> None:
    """Close a session whose transport was forgotten rather than closed."""
    if not session.closed and not loop.is_closed():
        loop.call_soon_threadsafe(lambda: loop.create_task(session.close()))

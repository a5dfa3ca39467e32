"""The default transport, on aiohttp."""

from __future__ import annotations

import asyncio
import weakref

import aiohttp
from pydantic import SecretStr

from qwen_embed.errors import (
    CertificateError,
    ConnectionFailedError,
    InvalidResponseError,
    RequestError,
    RequestTimeoutError,
)
from qwen_embed.transports.base import Response, Transport
from qwen_embed.transports.proxy import environment_proxy
from qwen_embed.transports.redaction import describe, without_key
from qwen_embed.version import __version__

_KEEP_ALIVE_SECONDS = 60.0
_READ_BUFFER = 1 << 20
"""Bytes. A response has about 220 KB and should be read without a pause."""
_MAX_RESPONSE = 64 << 20
"""Bytes, decompressed. The largest valid response, 25 texts with both vectors, has about 2 MB."""
_TRUST = (
    "If your organisation has its own certificate authority, set SSL_CERT_FILE to a PEM file with "
    "its certificate before the program starts."
)


class AiohttpTransport(Transport):
    """The default transport. It belongs to the event loop on which it sends first.

    Args:
        root: The service's root, without a trailing slash.
        api_key: The key, which is sent in one header only; empty if there is none.
        workspace: The workspace's id, or `None`.
        timeout: Seconds for one request, from its start to its last byte.
        connect_timeout: Seconds in which the connection must be established; part of `timeout`.
        gzip: Whether to request compressed responses.
        connections: Maximum open connections; all are kept alive.
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
        # Set per request: aiohttp sends the headers of a session to the proxy too.
        self._headers = _headers(api_key, workspace, gzip=gzip)
        self._proxy = environment_proxy(root)
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def post(self, path: str, body: bytes) -> Response:
        """Send a JSON body to `path` below the service's root and return the response."""
        failure: RequestError
        try:
            # Redirects are not followed: the key would be sent to the new address.
            async with self._open_session().post(
                self._root + path,
                data=body,
                headers=self._headers,
                allow_redirects=False,
                proxy=self._proxy,
            ) as response:
                content = await _read(response)
                return Response(
                    response.status,
                    response.headers,
                    without_key(self._api_key, response.status, content),
                )
        except aiohttp.ConnectionTimeoutError:
            failure = RequestTimeoutError(
                f"No connection within {self._connect_timeout:g} seconds."
            )
        except asyncio.TimeoutError:
            failure = RequestTimeoutError(f"No complete response within {self._timeout:g} seconds.")
        except aiohttp.ClientConnectorCertificateError as error:
            failure = CertificateError(_certificate_reason(error), hint=_TRUST)
        except (aiohttp.ClientError, OSError) as error:
            failure = ConnectionFailedError(describe(error, self._api_key))
        # Raised outside the handler, so that its traceback has no frame with the key's header.
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
    """Return the body, and close the connection if it is too large, also after decompression.

    `response.read()` would read an endless body until the memory is full.
    """
    chunks: list[bytes] = []
    size = 0
    announced = response.content_length or 0
    while max(size, announced) <= _MAX_RESPONSE:
        chunk = await response.content.readany()
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
        size += len(chunk)
    response.close()
    raise InvalidResponseError(f"The response is larger than {_MAX_RESPONSE >> 20} MiB.")


def _certificate_reason(error: aiohttp.ClientConnectorCertificateError) -> str:
    cause = error.certificate_error
    reason = getattr(cause, "verify_message", None) or str(cause)
    return f"The certificate of {error.host} could not be verified: {reason.rstrip('.')}."


def _close_from_any_thread(loop: asyncio.AbstractEventLoop, session: aiohttp.ClientSession) -> None:
    """Close a session whose transport was garbage collected instead of closed."""
    if not session.closed and not loop.is_closed():
        loop.call_soon_threadsafe(lambda: loop.create_task(session.close()))

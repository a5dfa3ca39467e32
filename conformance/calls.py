"""Sends one HTTP request and returns its raw response, without the client of this package.

The key is sent in one header. If a response contains it, it is redacted.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import aiohttp

from qwen_embed.config.endpoints import NATIVE_ROOT
from qwen_embed.protocols.native import PATH
from qwen_embed.transports.proxy import environment_proxy
from qwen_embed.version import __version__

COMPATIBLE_ROOT = "/compatible-mode/v1"
COMPATIBLE_PATH = "/embeddings"
WRONG_KEY = "sk-00000000000000000000000000000000"
HIDDEN_KEY = "(the key)"

Protocol = Literal["native", "compatible"]


@dataclass(frozen=True)
class Request:
    """A request to send.

    Attributes:
        body: The body, sent as JSON; bytes are sent unchanged.
        protocol: The protocol, which determines the root of the URL.
        path: The path below the root.
        method: The HTTP method.
        key: Which key to send.
        scheme: The scheme of the `Authorization` header.
        headers: Additional headers.
        max_tokens: The most tokens it can be billed; `None` for one per byte.
        timeout: Seconds to wait for the response.
    """

    body: Any
    protocol: Protocol = "native"
    path: str = PATH
    method: str = "POST"
    key: Literal["right", "wrong", "none"] = "right"
    scheme: str = "Bearer"
    headers: Mapping[str, str] = field(default_factory=dict)
    max_tokens: int | None = None
    timeout: float = 60.0

    @cached_property
    def raw(self) -> bytes:
        """The bytes of the body."""
        if isinstance(self.body, bytes):
            return self.body
        return json.dumps(self.body, ensure_ascii=False).encode()

    @property
    def token_bound(self) -> int:
        """The most tokens it can be billed: a token has at least one byte."""
        return len(self.raw) if self.max_tokens is None else self.max_tokens


@dataclass(frozen=True)
class Response:
    """A raw response.

    Attributes:
        status: The HTTP status; 0 if there was no response.
        headers: The headers, with lower-case names.
        body: The decompressed body.
        error: Why there was no response; empty if there was one.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    error: str = ""

    @cached_property
    def json(self) -> Any:
        """The parsed JSON of the body, or `None` if it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def succeeded(self) -> bool:
        """Whether it contains vectors, in either protocol."""
        parsed = self.json
        if self.status != 200 or not isinstance(parsed, dict) or parsed.get("code"):
            return False
        return "output" in parsed or "data" in parsed

    @property
    def code(self) -> str:
        """The error code; empty if there is none."""
        return str(self._error.get("code") or "")

    @property
    def message(self) -> str:
        """The error message; the start of the body if it is not JSON."""
        if not isinstance(self.json, dict):
            return self.body[:100].decode("utf-8", "replace")
        return str(self._error.get("message") or "")

    @property
    def tokens(self) -> int:
        """The billed tokens according to the response."""
        usage = self.json.get("usage") if isinstance(self.json, dict) else None
        tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
        return tokens if isinstance(tokens, int) else 0

    @property
    def _error(self) -> Mapping[str, Any]:
        parsed = self.json if isinstance(self.json, dict) else {}
        error = parsed.get("error")
        return error if isinstance(error, dict) else parsed


@dataclass(frozen=True)
class Address:
    """The address and the key for requests.

    Attributes:
        root: The root of the native protocol.
        api_key: The key.
        workspace: The workspace id, or `None`.
    """

    root: str
    api_key: str = field(repr=False)
    workspace: str | None = None

    def url(self, request: Request) -> str | None:
        """Return the URL of a request; `None` if the root of its protocol is unknown."""
        if request.protocol == "native":
            return self.root + request.path
        if not self.root.endswith(NATIVE_ROOT):
            return None
        return self.root.removesuffix(NATIVE_ROOT) + COMPATIBLE_ROOT + request.path

    def headers(self, request: Request) -> dict[str, str]:
        """Return the headers of a request."""
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"qwen-embed-conformance/{__version__}",
        }
        if request.key != "none":
            key = self.api_key if request.key == "right" else WRONG_KEY
            headers["Authorization"] = f"{request.scheme} {key}"
        if self.workspace:
            headers["X-DashScope-WorkSpace"] = self.workspace
        return {**headers, **request.headers}


def open_session() -> aiohttp.ClientSession:
    """Return a session that does not decompress responses or keep cookies."""
    return aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar())


async def send(session: aiohttp.ClientSession, address: Address, request: Request) -> Response:
    """Send a request and return its response; network errors are not raised."""
    url = address.url(request)
    if url is None:
        return Response(0, error="the address of this protocol is unknown")
    try:
        # Redirects are not followed, because the key would be sent with them.
        async with session.request(
            request.method,
            url,
            data=io.BytesIO(request.raw) if request.method == "POST" else None,
            headers=address.headers(request),
            allow_redirects=False,
            proxy=environment_proxy(address.root),
            timeout=aiohttp.ClientTimeout(total=request.timeout),
        ) as response:
            body = await response.read()
            headers = {name.lower(): value for name, value in response.headers.items()}
            return _without_key(Response(response.status, headers, body), address.api_key)
    except asyncio.TimeoutError:
        return Response(0, error=f"timeout after {request.timeout:g} seconds")
    except (aiohttp.ClientError, OSError) as error:
        return Response(0, error=type(error).__name__)


def _without_key(response: Response, api_key: str) -> Response:
    headers = {name: value.replace(api_key, HIDDEN_KEY) for name, value in response.headers.items()}
    body = _decompressed(response).replace(api_key.encode(), HIDDEN_KEY.encode())
    return Response(response.status, headers, body)


def _decompressed(response: Response) -> bytes:
    if response.headers.get("content-encoding", "").lower() != "gzip":
        return response.body
    try:
        return gzip.decompress(response.body)
    except (OSError, EOFError, zlib.error):
        return response.body

"""One HTTP request and its raw answer, without the library's own client in between.

The key goes into one header. Where an answer repeats it, it is replaced before anyone can see it.
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
from qwen_embed.transports.default import environment_proxy
from qwen_embed.version import __version__

COMPATIBLE_ROOT = "/compatible-mode/v1"
COMPATIBLE_PATH = "/embeddings"
WRONG_KEY = "sk-00000000000000000000000000000000"
HIDDEN_KEY = "(the key)"

Protocol = Literal["native", "compatible"]


@dataclass(frozen=True)
class Call:
    """A request that is to be sent.

    Attributes:
        body: What is sent as JSON; bytes are sent as they are.
        protocol: Below which root the path is.
        path: The path.
        method: The HTTP method.
        key: Which key goes along.
        scheme: What stands before the key.
        headers: More headers.
        most_tokens: The most tokens that it can be billed; `None` for one for each byte.
        timeout: Seconds until it counts as unanswered.
    """

    body: Any
    protocol: Protocol = "native"
    path: str = PATH
    method: str = "POST"
    key: Literal["right", "wrong", "none"] = "right"
    scheme: str = "Bearer"
    headers: Mapping[str, str] = field(default_factory=dict)
    most_tokens: int | None = None
    timeout: float = 60.0

    @cached_property
    def raw(self) -> bytes:
        """The bytes that are sent."""
        if isinstance(self.body, bytes):
            return self.body
        return json.dumps(self.body, ensure_ascii=False).encode()

    @property
    def token_bound(self) -> int:
        """The most tokens that it can be billed: no token is shorter than a byte."""
        return len(self.raw) if self.most_tokens is None else self.most_tokens


@dataclass(frozen=True)
class Reply:
    """A raw answer.

    Attributes:
        status: The HTTP status; 0 where there was no answer.
        headers: The headers; names in lower case.
        body: The body, unpacked.
        fault: Why there was no answer; else empty.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    fault: str = ""

    @cached_property
    def json(self) -> Any:
        """The body's JSON, or `None` where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def succeeded(self) -> bool:
        """Whether it carries vectors, by either protocol."""
        answer = self.json
        if self.status != 200 or not isinstance(answer, dict) or answer.get("code"):
            return False
        return "output" in answer or "data" in answer

    @property
    def code(self) -> str:
        """The code of the refusal; empty where there is none."""
        return str(self._refusal.get("code") or "")

    @property
    def message(self) -> str:
        """The message of the refusal; the beginning of a body that is not JSON."""
        if not isinstance(self.json, dict):
            return self.body[:100].decode("utf-8", "replace")
        return str(self._refusal.get("message") or "")

    @property
    def tokens(self) -> int:
        """The tokens that were billed, as the answer says."""
        usage = self.json.get("usage") if isinstance(self.json, dict) else None
        tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
        return tokens if isinstance(tokens, int) else 0

    @property
    def _refusal(self) -> Mapping[str, Any]:
        answer = self.json if isinstance(self.json, dict) else {}
        error = answer.get("error")
        return error if isinstance(error, dict) else answer


@dataclass(frozen=True)
class Address:
    """Where requests go, and with which key.

    Attributes:
        root: The root of the native protocol.
        api_key: The key.
        workspace: The workspace's id, or `None`.
    """

    root: str
    api_key: str = field(repr=False)
    workspace: str | None = None

    def url(self, call: Call) -> str | None:
        """Return where a call goes; `None` where no root of its protocol is known."""
        if call.protocol == "native":
            return self.root + call.path
        if not self.root.endswith(NATIVE_ROOT):
            return None
        return self.root.removesuffix(NATIVE_ROOT) + COMPATIBLE_ROOT + call.path

    def headers(self, call: Call) -> dict[str, str]:
        """Return the headers of a call."""
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"qwen-embed-conformance/{__version__}",
        }
        if call.key != "none":
            key = self.api_key if call.key == "right" else WRONG_KEY
            headers["Authorization"] = f"{call.scheme} {key}"
        if self.workspace:
            headers["X-DashScope-WorkSpace"] = self.workspace
        return {**headers, **call.headers}


def open_session() -> aiohttp.ClientSession:
    """Return a session that shows answers as they are."""
    return aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar())


async def send(session: aiohttp.ClientSession, address: Address, call: Call) -> Reply:
    """Send a call and return its answer; never raises for what the network does."""
    url = address.url(call)
    if url is None:
        return Reply(0, fault="no root of this protocol is known for the address")
    try:
        # A redirect is not followed: the key would go along.
        async with session.request(
            call.method,
            url,
            data=io.BytesIO(call.raw) if call.method == "POST" else None,
            headers=address.headers(call),
            allow_redirects=False,
            proxy=environment_proxy(address.root),
            timeout=aiohttp.ClientTimeout(total=call.timeout),
        ) as response:
            body = await response.read()
            headers = {name.lower(): value for name, value in response.headers.items()}
            return _without_key(Reply(response.status, headers, body), address.api_key)
    except asyncio.TimeoutError:
        return Reply(0, fault=f"none within {call.timeout:g} seconds")
    except (aiohttp.ClientError, OSError) as error:
        return Reply(0, fault=f"none: {type(error).__name__}")


def _without_key(reply: Reply, api_key: str) -> Reply:
    headers = {name: value.replace(api_key, HIDDEN_KEY) for name, value in reply.headers.items()}
    body = _unpacked(reply).replace(api_key.encode(), HIDDEN_KEY.encode())
    return Reply(reply.status, headers, body)


def _unpacked(reply: Reply) -> bytes:
    if reply.headers.get("content-encoding", "").lower() != "gzip":
        return reply.body
    try:
        return gzip.decompress(reply.body)
    except (OSError, EOFError, zlib.error):
        return reply.body

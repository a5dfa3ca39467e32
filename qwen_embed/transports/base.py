"""The interface of transports: bytes out, bytes in, no knowledge of vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class Response:
    """An HTTP response: status, headers and complete body."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@runtime_checkable
class Transport(Protocol):
    """The interface of all transports."""

    async def post(self, path: str, body: bytes) -> Response:
        """Send a JSON body to `path` below the service's root and return the response.

        Raises:
            ConnectionFailedError: If there is no complete response.
            RequestTimeoutError: If it does not arrive in time.
            InvalidResponseError: If it is larger than any valid one.
        """

    async def aclose(self) -> None:
        """Close all connections."""

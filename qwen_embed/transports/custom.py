"""Sends requests through a transport that the user has written."""

from __future__ import annotations

import asyncio

from pydantic import SecretStr

from qwen_embed.errors import ConnectionFailedError, RequestError, RequestTimeoutError
from qwen_embed.transports.base import Response, Transport
from qwen_embed.transports.redaction import describe


class CustomTransport(Transport):
    """Holds another transport to the time limit and to the errors of this package.

    Args:
        transport: The user's transport; it stays open, because the user closes it.
        api_key: The key, which is kept out of error messages.
        timeout: Seconds for one request.
    """

    def __init__(self, transport: Transport, *, api_key: SecretStr, timeout: float) -> None:
        self._transport = transport
        self._api_key = api_key
        self._timeout = timeout

    async def post(self, path: str, body: bytes) -> Response:
        """Send a JSON body to `path` below the root and return the response."""
        try:
            return await asyncio.wait_for(self._transport.post(path, body), self._timeout)
        except RequestError:
            raise
        except asyncio.TimeoutError:
            message = f"No complete response within {self._timeout:g} seconds."
            raise RequestTimeoutError(message) from None
        except Exception as error:
            raise ConnectionFailedError(describe(error, self._api_key)) from error

    async def aclose(self) -> None:
        """Leave the user's transport open."""

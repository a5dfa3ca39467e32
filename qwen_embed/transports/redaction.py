"""Keeps the API key, and a proxy's credentials, out of responses and error messages."""

from __future__ import annotations

import re

from pydantic import SecretStr

_MAX_ERROR = 1 << 16
_USER_INFO = re.compile(r"//[^/\s@]*@")
_MIN_SECRET = 8
"""Characters. A shorter key is a placeholder and could be part of any word."""


def without_key(api_key: SecretStr, status: int, content: bytes) -> bytes:
    """Return a response's body without the key, because some gateways quote a key they reject.

    They may do so with status 200, but such a body is shorter than one with vectors.
    """
    may_be_error = status != 200 or len(content) < _MAX_ERROR
    return _masked(api_key, content) if may_be_error else content


def _masked(api_key: SecretStr, content: bytes) -> bytes:
    key = api_key.get_secret_value().encode()
    return content.replace(key, b"***") if len(key) >= _MIN_SECRET else content


def describe(error: Exception, api_key: SecretStr) -> str:
    """Return an error's class and message, without the key and the credentials of a proxy."""
    text = _USER_INFO.sub("//", f"{type(error).__name__}: {error}".rstrip(": "))
    return _masked(api_key, text.encode(errors="replace")).decode()

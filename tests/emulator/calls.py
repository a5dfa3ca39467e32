"""Sends plain HTTP requests to an emulator, without the client of this package."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message
from typing import Any

import numpy as np

from qwen_embed.emulator import Emulator
from qwen_embed.emulator.dialects.native import Native

KEY = "sk-test"
RESOURCE = "/services/embeddings/text-embedding/text-embedding"
EMBEDDING_PATH = Native.path


@dataclass(frozen=True)
class Response:
    status: int
    headers: Message
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def vectors(self) -> np.ndarray:
        return np.array([item["embedding"] for item in self.json["output"]["embeddings"]])


def read_request(body, models):
    """Return the request that the native protocol reads in a body."""
    return Native().read(body, models)


def body_for(texts, model="text-embedding-v4", **parameters):
    return {"model": model, "input": {"texts": texts}, "parameters": parameters}


def send(url, *, method="POST", data=None, headers=None) -> Response:
    request = urllib.request.Request(  # noqa: S310 - the emulator's own address
        url, data=data, method=method, headers=headers or {}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            return Response(response.status, response.headers, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Response(error.code, error.headers, error.read())


def post(service: Emulator, body, *, key=KEY, url=None, **headers) -> Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return send(
        url or service.native_url + RESOURCE,
        data=data,
        headers={
            **({} if key is None else {"Authorization": f"Bearer {key}"}),
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
    )


def embed(service: Emulator, texts, **parameters) -> Response:
    return post(service, body_for(texts, **parameters))


def post_openai(service: Emulator, body, *, key=KEY, **headers) -> Response:
    """Send a body with the OpenAI-compatible protocol."""
    return post(service, body, key=key, url=f"{service.openai_url}/embeddings", **headers)


def embed_openai(service: Emulator, given, model="text-embedding-v4", **fields) -> Response:
    return post_openai(service, {"model": model, "input": given, **fields})

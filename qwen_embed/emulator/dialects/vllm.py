"""vLLM as a server of Qwen3-Embedding: what it takes and refuses, and how it answers."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from typing import cast

from qwen_embed.emulator.dialects.answers import Response, Vectors, json_response, openai_items
from qwen_embed.emulator.dialects.qwen3 import Input, find_served, read_inputs, request_of
from qwen_embed.emulator.dialects.request import ApiError, EmbeddingRequest, EncodingFormat
from qwen_embed.emulator.dialects.rules import INVALID_KEY, default_dimension
from qwen_embed.models import Model

_BAD_REQUEST = "BadRequestError"


class Vllm:
    """The dialect of `vllm serve Qwen/Qwen3-Embedding-0.6B`.

    Statuses, types and messages are those of its source in 2026 (vllm-project/vllm:
    `vllm/pooling_params.py`, `vllm/renderers/params.py`, `vllm/exceptions.py`,
    `vllm/entrypoints/pooling/base/serving.py`, `vllm/entrypoints/serve/exception_handling/` and
    `vllm/entrypoints/serve/middleware/authenticate.py`), except the message for a body that is not
    of the right form: there vLLM prints what pydantic says. It takes any number of texts.

    Args:
        matryoshka: Whether it was started with `--hf-overrides '{"is_matryoshka": true}'`. Without,
            it refuses `dimensions` (QwenLM/Qwen3-Embedding#140); with it, it cuts vectors to them.
        flat_errors: Whether errors are not nested in an object `error`, as before version 0.10.1
            (vllm-project/vllm#22099).
    """

    root = "/v1"
    path = "/v1/embeddings"

    def __init__(self, *, matryoshka: bool = False, flat_errors: bool = False) -> None:
        self._matryoshka = matryoshka
        self._flat_errors = flat_errors

    def read(self, body: object, models: Mapping[str, Model]) -> EmbeddingRequest:
        """Return the request that a body makes.

        Args:
            body: The parsed JSON of the body, `None` where it is not JSON.
            models: The models that are served, by name.

        Raises:
            ApiError: When the server would not take it.
        """
        if not isinstance(body, dict):
            raise _malformed("body")
        inputs = read_inputs(body.get("input"))
        dimensions = body.get("dimensions")
        encoding_format = body.get("encoding_format", "float")
        if not inputs:
            raise _malformed("body.input")
        if dimensions is not None and type(dimensions) is not int:
            raise _malformed("body.dimensions")
        if encoding_format not in ("float", "base64"):
            raise _malformed("body.encoding_format")
        model = _find_model(body.get("model"), models)
        for each in inputs:
            _check_length(each, model.tokens_per_text)
        return request_of(
            model,
            inputs,
            self._dimension(dimensions, model),
            cast("EncodingFormat", encoding_format),
        )

    def success(
        self, request: EmbeddingRequest, vectors: Vectors, order: Iterable[int]
    ) -> Response:
        """Return the answer that carries vectors, rows in the order of the given indices."""
        return json_response(
            200,
            {
                "id": f"embd-{uuid.uuid4().hex}",
                "object": "list",
                "created": int(time.time()),
                "model": request.model.name,
                "data": openai_items(vectors, order, request.encoding_format),
                "usage": {
                    "prompt_tokens": request.tokens,
                    "total_tokens": request.tokens,
                    "completion_tokens": 0,
                    "prompt_tokens_details": None,
                },
            },
        )

    def error(self, error: ApiError) -> Response:
        """Return the answer that carries a refusal; the status is the code."""
        if error.code == INVALID_KEY:
            return json_response(error.status, {"error": "Unauthorized"}, error.code)
        described = {
            "message": error.message,
            "type": error.code,
            "param": error.param,
            "code": error.status,
        }
        body = {"object": "error", **described} if self._flat_errors else {"error": described}
        return json_response(error.status, body, error.code)

    def _dimension(self, asked: int | None, model: Model) -> int:
        native = default_dimension(model)
        if asked is None:
            return native
        if not self._matryoshka:
            raise ApiError(
                400,
                _BAD_REQUEST,
                f'Model "{model.name}" does not support matryoshka representation, '
                "changing output dimensions will lead to poor results.",
            )
        if asked < 1:
            raise ApiError(400, _BAD_REQUEST, "Dimensions must be greater than 0")
        return min(asked, native)


def _find_model(name: object, models: Mapping[str, Model]) -> Model:
    model = find_served(name, models) if name else next(iter(models.values()))
    if model is None:
        raise ApiError(404, "NotFoundError", f"The model `{name}` does not exist.")
    return model


def _check_length(given: Input, most: int | None) -> None:
    if most is not None and given.tokens > most:
        raise ApiError(
            400,
            _BAD_REQUEST,
            f"You passed {given.tokens} input tokens and requested 0 output tokens. However, the "
            f"model's context length is only {most} tokens, resulting in a maximum input length of "
            f"{most} tokens. Please reduce the length of the input prompt. "
            f"(parameter=input_tokens, value={given.tokens})",
            param="input_tokens",
        )


def _malformed(where: str) -> ApiError:
    return ApiError(400, "Bad Request", f"1 validation error: {where}", param=where)

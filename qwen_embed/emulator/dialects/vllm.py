"""vLLM as a server of Qwen3-Embedding."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from typing import cast

from qwen_embed.emulator.dialects.qwen3 import Input, find_served, read_inputs, request_of
from qwen_embed.emulator.dialects.request import ApiError, EmbeddingRequest, EncodingFormat
from qwen_embed.emulator.dialects.responses import Response, Vectors, json_response, openai_items
from qwen_embed.emulator.dialects.rules import INVALID_KEY, default_dimension
from qwen_embed.models import Model

_BAD_REQUEST = "BadRequestError"


class Vllm:
    """The dialect of `vllm serve Qwen/Qwen3-Embedding-0.6B`.

    Statuses, types and messages are copied from its source of 2026 (vllm-project/vllm:
    `vllm/pooling_params.py`, `vllm/renderers/params.py`, `vllm/exceptions.py`,
    `vllm/entrypoints/pooling/base/serving.py`, `vllm/entrypoints/serve/exception_handling/` and
    `vllm/entrypoints/serve/middleware/authenticate.py`). Only the message for a malformed body is
    shortened, where vLLM prints pydantic's. It accepts any number of texts.

    Args:
        matryoshka: Whether it was started with `--hf-overrides '{"is_matryoshka": true}'`. If so,
            it truncates vectors to `dimensions`; otherwise it rejects them
            (QwenLM/Qwen3-Embedding#140).
        flat_errors: Whether errors are not nested in an object `error`, as before version 0.10.1
            (vllm-project/vllm#22099).
    """

    root = "/v1"
    path = "/v1/embeddings"

    def __init__(self, *, matryoshka: bool = False, flat_errors: bool = False) -> None:
        self._matryoshka = matryoshka
        self._flat_errors = flat_errors

    def read(self, body: object, models: Mapping[str, Model]) -> EmbeddingRequest:
        """Return the request in a body.

        Args:
            body: The parsed JSON, or `None` if the body is not JSON.
            models: The models, by name.

        Raises:
            ApiError: When the server would reject the request.
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
        for item in inputs:
            _check_length(item, model.tokens_per_text)
        return request_of(
            model,
            inputs,
            self._dimension(dimensions, model),
            cast("EncodingFormat", encoding_format),
        )

    def success(
        self, request: EmbeddingRequest, vectors: Vectors, order: Iterable[int]
    ) -> Response:
        """Return the response with the vectors, in the given order of indices."""
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
        """Return the error response; its code is the status."""
        if error.code == INVALID_KEY:
            return json_response(error.status, {"error": "Unauthorized"}, error.code)
        details = {
            "message": error.message,
            "type": error.code,
            "param": error.param,
            "code": error.status,
        }
        body = {"object": "error", **details} if self._flat_errors else {"error": details}
        return json_response(error.status, body, error.code)

    def _dimension(self, requested: int | None, model: Model) -> int:
        full = default_dimension(model)
        if requested is None:
            return full
        if not self._matryoshka:
            raise ApiError(
                400,
                _BAD_REQUEST,
                f'Model "{model.name}" does not support matryoshka representation, '
                "changing output dimensions will lead to poor results.",
            )
        if requested < 1:
            raise ApiError(400, _BAD_REQUEST, "Dimensions must be greater than 0")
        return min(requested, full)


def _find_model(name: object, models: Mapping[str, Model]) -> Model:
    model = find_served(name, models) if name else next(iter(models.values()))
    if model is None:
        raise ApiError(404, "NotFoundError", f"The model `{name}` does not exist.")
    return model


def _check_length(item: Input, limit: int | None) -> None:
    if limit is not None and item.tokens > limit:
        raise ApiError(
            400,
            _BAD_REQUEST,
            f"You passed {item.tokens} input tokens and requested 0 output tokens. However, the "
            f"model's context length is only {limit} tokens, resulting in a maximum input length "
            f"of {limit} tokens. Please reduce the length of the input prompt. "
            f"(parameter=input_tokens, value={item.tokens})",
            param="input_tokens",
        )


def _malformed(param: str) -> ApiError:
    return ApiError(400, "Bad Request", f"1 validation error: {param}", param=param)

"""Text Embeddings Inference as a server of Qwen3-Embedding."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import cast

from qwen_embed.emulator.dialects.qwen3 import Input, find_served, read_inputs, request_of
from qwen_embed.emulator.dialects.request import ApiError, EmbeddingRequest, EncodingFormat
from qwen_embed.emulator.dialects.responses import Response, Vectors, json_response, openai_items
from qwen_embed.emulator.dialects.rules import INVALID_KEY, default_dimension
from qwen_embed.emulator.tokens import count_tokens
from qwen_embed.models import Model

_MALFORMED = "malformed"


class Tei:
    """The dialect of Hugging Face's Text Embeddings Inference, version 1.9.

    Statuses, types and messages are copied from its source (huggingface/text-embeddings-inference:
    `router/src/http/server.rs`, `core/src/infer.rs`, `core/src/tokenization.rs`). Only the messages
    for a malformed body are shortened. It serves one model, whatever name is requested, limits the
    texts per request (`--max-client-batch-size`, here `texts_per_request`), silently truncates long
    texts, and truncates vectors to `dimensions`.
    """

    root = "/v1"
    path = "/v1/embeddings"

    def read(self, body: object, models: Mapping[str, Model]) -> EmbeddingRequest:
        """Return the request in a body.

        Args:
            body: The parsed JSON, or `None` if the body is not JSON.
            models: The models, by name; any other name gets the first model.

        Raises:
            ApiError: When the server would reject the request.
        """
        if not isinstance(body, dict):
            raise ApiError(400, _MALFORMED, "Failed to parse the request body as JSON")
        model = find_served(body.get("model"), models) or next(iter(models.values()))
        inputs = read_inputs(body.get("input"))
        dimensions = body.get("dimensions")
        encoding_format = body.get("encoding_format", "float")
        if (
            inputs is None
            or encoding_format not in ("float", "base64")
            or not (dimensions is None or (type(dimensions) is int and dimensions >= 0))
        ):
            reason = "Failed to deserialize the JSON body into the target type"
            raise ApiError(422, _MALFORMED, reason)
        _check_texts(inputs, model.texts_per_request)
        return request_of(
            model,
            [_truncate(item, model.tokens_per_text) for item in inputs],
            _dimension(dimensions, default_dimension(model)),
            cast("EncodingFormat", encoding_format),
        )

    def success(
        self, request: EmbeddingRequest, vectors: Vectors, order: Iterable[int]
    ) -> Response:
        """Return the response with the vectors, in the given order of indices."""
        return json_response(
            200,
            {
                "object": "list",
                "data": openai_items(vectors, order, request.encoding_format),
                "model": request.model.name,
                "usage": {"prompt_tokens": request.tokens, "total_tokens": request.tokens},
            },
        )

    def error(self, error: ApiError) -> Response:
        """Return the error response: JSON, plain text or an empty body."""
        if error.code == INVALID_KEY:
            return Response(error.status, b"", error.code, {})
        if error.code == _MALFORMED:
            headers = {"Content-Type": "text/plain; charset=utf-8"}
            return Response(error.status, error.message.encode(), None, headers)
        body = {"message": error.message, "code": error.status, "type": error.code}
        return json_response(error.status, body, error.code)


def _check_texts(inputs: list[Input], cap: int) -> None:
    if not inputs:
        raise ApiError(400, "Empty", "`inputs` cannot be empty")
    if len(inputs) > cap:
        message = f"batch size {len(inputs)} > maximum allowed batch size {cap}"
        raise ApiError(422, "Validation", message)
    if not all(item.text for item in inputs):
        raise ApiError(400, "Empty", "Input validation error: `inputs` cannot be empty")


def _dimension(requested: int | None, full: int) -> int:
    if requested is None:
        return full
    if requested == 0:
        reason = "`dimensions` should be positive"
    elif requested > full:
        reason = "`dimensions` should be smaller than the maximum embedding dimension."
    else:
        return requested
    raise ApiError(422, "Validation", f"Input validation error: {reason}")


def _truncate(item: Input, limit: int | None) -> Input:
    """Return a text truncated to its first `limit` tokens."""
    if limit is None or item.tokens <= limit:
        return item

    def tokens_before(end: int) -> int:
        return count_tokens(item.text[:end])

    end = bisect_right(range(len(item.text) + 1), limit, key=tokens_before) - 1
    return Input(item.text[:end], limit)

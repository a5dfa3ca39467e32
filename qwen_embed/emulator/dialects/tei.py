"""Text Embeddings Inference as a server of Qwen3-Embedding: what it takes, and how it answers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import cast

from qwen_embed.emulator.dialects.answers import Response, Vectors, json_response, openai_items
from qwen_embed.emulator.dialects.qwen3 import Input, find_served, read_inputs, request_of
from qwen_embed.emulator.dialects.request import ApiError, EmbeddingRequest, EncodingFormat
from qwen_embed.emulator.dialects.rules import INVALID_KEY, default_dimension
from qwen_embed.emulator.tokens import count_tokens
from qwen_embed.models import Model

_UNREADABLE = "unreadable"


class Tei:
    """The dialect of Hugging Face's Text Embeddings Inference, version 1.9.

    Statuses, types and messages are those of its source (huggingface/text-embeddings-inference:
    `router/src/http/server.rs`, `core/src/infer.rs`, `core/src/tokenization.rs`), except what
    follows the first words for a body that is not of the right form. It serves one model whatever
    name is asked for, has a cap of texts (`--max-client-batch-size`, here `texts_per_request`),
    cuts texts that are too long without a word, and cuts vectors to `dimensions`.
    """

    root = "/v1"
    path = "/v1/embeddings"

    def read(self, body: object, models: Mapping[str, Model]) -> EmbeddingRequest:
        """Return the request that a body makes.

        Args:
            body: The parsed JSON of the body, `None` where it is not JSON.
            models: The models that are served, by name; the first where another is asked for.

        Raises:
            ApiError: When the server would not take it.
        """
        if not isinstance(body, dict):
            raise ApiError(400, _UNREADABLE, "Failed to parse the request body as JSON")
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
            raise ApiError(422, _UNREADABLE, reason)
        _check_texts(inputs, model.texts_per_request)
        return request_of(
            model,
            [_cut(each, model.tokens_per_text) for each in inputs],
            _dimension(dimensions, default_dimension(model)),
            cast("EncodingFormat", encoding_format),
        )

    def success(
        self, request: EmbeddingRequest, vectors: Vectors, order: Iterable[int]
    ) -> Response:
        """Return the answer that carries vectors, rows in the order of the given indices."""
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
        """Return the answer that carries a refusal: JSON, plain words or nothing at all."""
        if error.code == INVALID_KEY:
            return Response(error.status, b"", error.code, {})
        if error.code == _UNREADABLE:
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
    if not all(each.text for each in inputs):
        raise ApiError(400, "Empty", "Input validation error: `inputs` cannot be empty")


def _dimension(asked: int | None, native: int) -> int:
    if asked is None:
        return native
    if asked == 0:
        reason = "`dimensions` should be positive"
    elif asked > native:
        reason = "`dimensions` should be smaller than the maximum embedding dimension."
    else:
        return asked
    raise ApiError(422, "Validation", f"Input validation error: {reason}")


def _cut(given: Input, most: int | None) -> Input:
    """Return a text cut to its first tokens."""
    if most is None or given.tokens <= most:
        return given

    def tokens_of_first(characters: int) -> int:
        return count_tokens(given.text[:characters])

    end = bisect_right(range(len(given.text) + 1), most, key=tokens_of_first) - 1
    return Input(given.text[:end], most)

"""The OpenAI-compatible protocol of the service: reads requests and formats responses."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any, cast

from qwen_embed.emulator.dialects.request import (
    DOCUMENT,
    ApiError,
    EmbeddingRequest,
    EncodingFormat,
)
from qwen_embed.emulator.dialects.responses import Response, Vectors, json_response, openai_items
from qwen_embed.emulator.dialects.rules import (
    INVALID_KEY,
    INVALID_PARAMETER,
    MODEL_NOT_FOUND,
    NOT_AUTHORIZED,
    default_dimension,
    read_dimension,
    read_model,
    read_object,
    read_texts,
)
from qwen_embed.models import Model

_UNKNOWN_ENCODING = "'encoding_format' only support with [float, base64]"
_NO_CODE = ""
_ACCESS_DENIED = "access_denied"
_LIMIT_REQUESTS = "limit_requests"

# The native error codes that have another name in this protocol.
_CODES = {
    INVALID_KEY: "invalid_api_key",
    NOT_AUTHORIZED: "invalid_api_key",
    MODEL_NOT_FOUND: "model_not_found",
    "AccessDenied": _ACCESS_DENIED,
    "AccessDenied.Unpurchased": _ACCESS_DENIED,
    "Model.AccessDenied": _ACCESS_DENIED,
    "Workspace.AccessDenied": _ACCESS_DENIED,
    "DataInspectionFailed": "data_inspection_failed",
    "Throttling": _LIMIT_REQUESTS,
    "Throttling.RateQuota": _LIMIT_REQUESTS,
    "LimitRequests": _LIMIT_REQUESTS,
    "Throttling.BurstRate": "limit_burst_rate",
    "Throttling.AllocationQuota": "insufficient_quota",
}
_MESSAGES = {"Invalid API-key provided.": "Incorrect API key provided. "}

_INVALID_REQUEST = "invalid_request_error"
_INVALID_REQUESTS = frozenset({"invalid_api_key", "model_not_found"})


class Compatible:
    """The dialect that the `openai` client uses with the service.

    The service documents `text_type`, `instruct` and `output_type` as native only, and accepts them
    here without an error. This emulator assumes that they have no effect, and that every text is
    embedded as a document.
    """

    root = "/compatible-mode/v1"
    path = "/compatible-mode/v1/embeddings"

    def read(self, body: object, models: Mapping[str, Model]) -> EmbeddingRequest:
        """Return the request in a body.

        Null is rejected for `encoding_format`, and for `dimensions` unless the model ignores them.
        The message for null `dimensions` is a guess: the one for an unsupported dimension.

        Args:
            body: The parsed JSON, or `None` if the body is not JSON.
            models: The models that exist, by name.

        Raises:
            ApiError: When the service would reject the request.
        """
        fields = read_object(body)
        model = read_model(fields.get("model"), models)
        encoding_format = fields.get("encoding_format", "float")
        if encoding_format not in ("float", "base64"):
            raise ApiError(400, _NO_CODE, _UNKNOWN_ENCODING)
        contents = fields.get("input")
        texts, tokens = read_texts([contents] if isinstance(contents, str) else contents, model)
        return EmbeddingRequest(
            model=model,
            texts=texts,
            roles=(DOCUMENT,) * len(texts),
            dimension=read_dimension(fields["dimensions"], model)
            if "dimensions" in fields
            else default_dimension(model),
            tokens=tokens,
            encoding_format=cast("EncodingFormat", encoding_format),
        )

    def success(
        self, request: EmbeddingRequest, vectors: Vectors, order: Iterable[int]
    ) -> Response:
        """Return the response with the vectors, in the given order of indices."""
        return json_response(
            200,
            {
                "data": openai_items(vectors, order, request.encoding_format),
                "model": request.model.name,
                "object": "list",
                "usage": {"prompt_tokens": request.tokens, "total_tokens": request.tokens},
                "id": str(uuid.uuid4()),
            },
        )

    def error(self, error: ApiError) -> Response:
        """Return the error response, in the format that the service uses for this error.

        Four formats are documented or recorded. Any other error gets the format that was recorded
        for throttling and overdue balances of the service's chat models: the type is the code.
        """
        request_id = str(uuid.uuid4())
        message = _MESSAGES.get(error.message, error.message)
        if error.code == _NO_CODE:
            details = {"message": message, "type": _INVALID_REQUEST}
            return json_response(error.status, {"error": details, "request_id": request_id})
        code = _CODES.get(error.code, error.code)
        body: dict[str, Any]
        if error.code == NOT_AUTHORIZED:
            details = {"message": message, "id": request_id}
            body = {"error": {**details, "type": _INVALID_REQUEST, "code": code}}
        else:
            kind = _INVALID_REQUEST if code in _INVALID_REQUESTS else code
            body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
            if code == INVALID_PARAMETER:
                body["id"] = request_id
            body["request_id"] = request_id
        return json_response(error.status, body, code)

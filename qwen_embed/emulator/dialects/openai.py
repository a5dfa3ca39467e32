"""The OpenAI-compatible protocol of the service: what its bodies say, and how it answers."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any, cast

from qwen_embed.emulator.dialects.answers import Response, Vectors, json_response, openai_items
from qwen_embed.emulator.dialects.request import (
    DOCUMENT,
    ApiError,
    EmbeddingRequest,
    EncodingFormat,
)
from qwen_embed.emulator.dialects.rules import (
    INVALID_KEY,
    INVALID_PARAMETER,
    NO_SUCH_MODEL,
    NOT_AUTHORIZED,
    default_dimension,
    read_dimension,
    read_model,
    read_object,
    read_texts,
)
from qwen_embed.models import Model

_NO_SUCH_ENCODING = "'encoding_format' only support with [float, base64]"
_NO_CODE = ""
_ACCESS_DENIED = "access_denied"
_LIMIT_REQUESTS = "limit_requests"

# The service's error codes that have another name in this protocol.
_CODES = {
    INVALID_KEY: "invalid_api_key",
    NOT_AUTHORIZED: "invalid_api_key",
    NO_SUCH_MODEL: "model_not_found",
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
    """The dialect of the `openai` client at the service's own address.

    The service documents `text_type`, `instruct` and `output_type` as native only, and raises no
    error for them here. That they then have no effect is an assumption of ours, and so is that its
    vectors, which have no role, are the native ones of documents.
    """

    root = "/compatible-mode/v1"
    path = "/compatible-mode/v1/embeddings"

    def read(self, body: object, models: Mapping[str, Model]) -> EmbeddingRequest:
        """Return the request that a body makes.

        Null is refused for `encoding_format`, and for `dimensions` by models that do not ignore it.
        For the latter the words are a guess: those for a wrong dimension.

        Args:
            body: The parsed JSON of the body, `None` where it is not JSON.
            models: The models that exist, by name.

        Raises:
            ApiError: When the service would not take it.
        """
        sent = read_object(body)
        model = read_model(sent.get("model"), models)
        encoding_format = sent.get("encoding_format", "float")
        if encoding_format not in ("float", "base64"):
            raise ApiError(400, _NO_CODE, _NO_SUCH_ENCODING)
        given = sent.get("input")
        texts, tokens = read_texts([given] if isinstance(given, str) else given, model)
        return EmbeddingRequest(
            model=model,
            texts=texts,
            roles=(DOCUMENT,) * len(texts),
            dimension=read_dimension(sent["dimensions"], model)
            if "dimensions" in sent
            else default_dimension(model),
            tokens=tokens,
            encoding_format=cast("EncodingFormat", encoding_format),
        )

    def success(
        self, request: EmbeddingRequest, vectors: Vectors, order: Iterable[int]
    ) -> Response:
        """Return the answer that carries vectors, rows in the order of the given indices."""
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
        """Return the answer that carries a refusal, in the one of its forms that the case has.

        Four forms are documented or recorded. Whatever has none of them gets the form in which
        refusals of the service's chat models for quota and arrears were recorded: the type is the
        code.
        """
        request_id = str(uuid.uuid4())
        message = _MESSAGES.get(error.message, error.message)
        if error.code == _NO_CODE:
            described = {"message": message, "type": _INVALID_REQUEST}
            return json_response(error.status, {"error": described, "request_id": request_id})
        code = _CODES.get(error.code, error.code)
        body: dict[str, Any]
        if error.code == NOT_AUTHORIZED:
            described = {"message": message, "id": request_id}
            body = {"error": {**described, "type": _INVALID_REQUEST, "code": code}}
        else:
            kind = _INVALID_REQUEST if code in _INVALID_REQUESTS else code
            body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
            if code == INVALID_PARAMETER:
                body["id"] = request_id
            body["request_id"] = request_id
        return json_response(error.status, body, code)

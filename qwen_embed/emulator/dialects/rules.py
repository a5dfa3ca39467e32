"""The rules of the service for both protocols: what it accepts, and how it rejects the rest.

Statuses, codes and messages are copied from the service where they are known, typing errors
included. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

from qwen_embed.emulator.dialects.request import ApiError
from qwen_embed.emulator.tokens import count_tokens
from qwen_embed.models import Model

MAX_BODY_SIZE = 16 * 1024 * 1024

INVALID_PARAMETER = "InvalidParameter"
INVALID_KEY = "InvalidApiKey"
MODEL_NOT_FOUND = "ModelNotFound"
NOT_AUTHORIZED = "NOT AUTHORIZED"

_ALGO = "<400> InternalError.Algo.InvalidParameter: "
_FIRST_GENERATION = frozenset({"text-embedding-v1", "text-embedding-v2"})
_DEFAULT_TOKENS_PER_TEXT = 8_192
_DEFAULT_DIMENSION = 1_024
_MAX_DIMENSION = 8_192


def check_key(presented: str | None, expected: str | None) -> None:
    """Reject a request without the expected API key; `None` accepts every request.

    Raises:
        ApiError: 401 `InvalidApiKey`.
    """
    if expected is not None and presented != expected:
        raise ApiError(401, INVALID_KEY, "Invalid API-key provided.")


def check_workspace(named: str | None, existing: Collection[str] | None) -> None:
    """Reject a request for a workspace that does not exist; with `None` every one exists.

    Raises:
        ApiError: 401 `NOT AUTHORIZED`.
    """
    if named is not None and existing is not None and named not in existing:
        raise ApiError(
            401,
            NOT_AUTHORIZED,
            "Access denied: Either you are not authorized to access this workspace, "
            "or the workspace does not exist.",
        )


def not_found(method: str, path: str, existing: Collection[str]) -> ApiError:
    """Return the error for a request to any other path or with any other method."""
    endpoints = " and ".join(f"POST {path}" for path in existing)
    return ApiError(404, "NotFound", f"This emulator has no {method} {path}. It has {endpoints}.")


def too_large() -> ApiError:
    """Return the error for a body above 16 MiB."""
    return ApiError(413, "BadRequest.TooLarge", "Payload Too Large.")


def invalid(message: str) -> ApiError:
    """Return the error for an invalid request."""
    return ApiError(400, INVALID_PARAMETER, message)


def read_object(body: object) -> Mapping[str, Any]:
    """Return a body that is a JSON object; `None` stands for a body that is not JSON.

    Raises:
        ApiError: 400 `InvalidParameter`.
    """
    if not isinstance(body, dict):
        raise invalid("The request body must be a JSON object.")
    return body


def read_model(name: object, models: Mapping[str, Model]) -> Model:
    """Return the model of that name.

    Raises:
        ApiError: 400 `InvalidParameter` or 404 `ModelNotFound`.
    """
    if not isinstance(name, str):
        raise invalid('"model" must be present and a string.')
    if name not in models:
        raise ApiError(
            404,
            MODEL_NOT_FOUND,
            f"The model `{name}` does not exist or you do not have access to it.",
        )
    return models[name]


def read_texts(texts: object, model: Model) -> tuple[tuple[str, ...], int]:
    """Return the texts and their total number of tokens.

    Raises:
        ApiError: 400 `InvalidParameter`.
    """
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise invalid(
            f"{_ALGO}Value error, contents is neither str nor list of str.: input.contents"
        )
    first_generation = model.name in _FIRST_GENERATION
    cap = model.texts_per_request
    if len(texts) > cap:
        reason = f"batch size is invalid, it should not be larger than {cap}."
        raise invalid(
            f"{reason}: payload.input.contents"
            if first_generation
            else f"{_ALGO}Value error, {reason}: input.contents"
        )
    limit = model.tokens_per_text
    tokens = 0
    for text in texts:
        count = count_tokens(text)
        if count == 0 or (limit is not None and count > limit):
            allowed = f"Range of input length should be [1, {limit or _DEFAULT_TOKENS_PER_TEXT}]"
            raise invalid(allowed if first_generation else _ALGO + allowed)
        tokens += count
    return tuple(texts), tokens


def default_dimension(model: Model) -> int:
    """Return the length of a model's vectors when none is requested."""
    return model.default_dimension or _DEFAULT_DIMENSION


def read_dimension(requested: object, model: Model) -> int:
    """Return the length of the vectors for a requested dimension.

    Raises:
        ApiError: 400 `InvalidParameter`.
    """
    # Models of the first generation have one length and ignore the parameter.
    if model.name in _FIRST_GENERATION:
        return default_dimension(model)
    allowed = sorted(model.dimensions)
    is_number = isinstance(requested, int) and not isinstance(requested, bool)
    if is_number and (
        requested in allowed or (not allowed and 1 <= cast("int", requested) <= _MAX_DIMENSION)
    ):
        return cast("int", requested)
    raise invalid(
        f"{_ALGO}Value error, dimension for embedding v3 is invalid, "
        f"its value shold be in {allowed or [1, _MAX_DIMENSION]}"
    )

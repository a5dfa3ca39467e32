"""What the service takes and refuses whatever the protocol, and with which words.

Statuses, codes and messages are the service's own where they are known, its typing
errors included. Nothing here touches a socket or a clock.
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
NO_SUCH_MODEL = "ModelNotFound"
NOT_AUTHORIZED = "NOT AUTHORIZED"

_ALGO = "<400> InternalError.Algo.InvalidParameter: "
_FIRST_GENERATION = frozenset({"text-embedding-v1", "text-embedding-v2"})
_TOKENS_WHERE_UNKNOWN = 8_192
_DIMENSION_WHERE_UNKNOWN = 1_024
_MAX_DIMENSION = 8_192


def check_key(presented: str | None, expected: str | None) -> None:
    """Refuse a request that does not present the expected API key; `None` expects none.

    Raises:
        ApiError: 401 `InvalidApiKey`.
    """
    if expected is not None and presented != expected:
        raise ApiError(401, INVALID_KEY, "Invalid API-key provided.")


def check_workspace(named: str | None, existing: Collection[str] | None) -> None:
    """Refuse a request for a workspace that does not exist; `None` lets every one exist.

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
    """Return the refusal of a request for anything other than embeddings."""
    has = " and ".join(f"POST {each}" for each in existing)
    return ApiError(404, "NotFound", f"This emulator has no {method} {path}. It has {has}.")


def too_large() -> ApiError:
    """Return the refusal of a body above 16 MiB."""
    return ApiError(413, "BadRequest.TooLarge", "Payload Too Large.")


def invalid(message: str) -> ApiError:
    """Return the refusal of a request that is wrong."""
    return ApiError(400, INVALID_PARAMETER, message)


def read_object(body: object) -> Mapping[str, Any]:
    """Return a body that is a JSON object; a body that was not JSON is `None`.

    Raises:
        ApiError: 400 `InvalidParameter`.
    """
    if not isinstance(body, dict):
        raise invalid("The request body must be a JSON object.")
    return body


def read_model(name: object, models: Mapping[str, Model]) -> Model:
    """Return the row of the model of that name.

    Raises:
        ApiError: 400 `InvalidParameter` or 404 `ModelNotFound`.
    """
    if not isinstance(name, str):
        raise invalid('"model" must be present and a string.')
    if name not in models:
        raise ApiError(
            404,
            NO_SUCH_MODEL,
            f"The model `{name}` does not exist or you do not have access to it.",
        )
    return models[name]


def read_texts(texts: object, model: Model) -> tuple[tuple[str, ...], int]:
    """Return the texts and how many tokens they have together.

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
            allowed = f"Range of input length should be [1, {limit or _TOKENS_WHERE_UNKNOWN}]"
            raise invalid(allowed if first_generation else _ALGO + allowed)
        tokens += count
    return tuple(texts), tokens


def default_dimension(model: Model) -> int:
    """Return the length of a model's vectors where none is asked for."""
    return model.default_dimension or _DIMENSION_WHERE_UNKNOWN


def read_dimension(asked: object, model: Model) -> int:
    """Return the length of vectors for the one that is asked for.

    Raises:
        ApiError: 400 `InvalidParameter`.
    """
    # The first generation has one length and ignores the parameter.
    if model.name in _FIRST_GENERATION:
        return default_dimension(model)
    allowed = sorted(model.dimensions)
    is_number = isinstance(asked, int) and not isinstance(asked, bool)
    if is_number and (
        asked in allowed or (not allowed and 1 <= cast("int", asked) <= _MAX_DIMENSION)
    ):
        return cast("int", asked)
    raise invalid(
        f"{_ALGO}Value error, dimension for embedding v3 is invalid, "
        f"its value shold be in {allowed or [1, _MAX_DIMENSION]}"
    )

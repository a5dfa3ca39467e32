"""Which requests the service takes, and with which words it refuses the others.

Statuses, codes and messages are the service's own where they are known, its typing
errors included. Nothing here touches a socket or a clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from qwen_embed.emulator.tokens import count_tokens
from qwen_embed.models import Model

TextType = Literal["query", "document"]
OutputType = Literal["dense", "sparse", "dense&sparse"]

EMBEDDING_PATH = "/api/v1/services/embeddings/text-embedding/text-embedding"
LARGEST_BODY = 16 * 1024 * 1024

_ALGO = "<400> InternalError.Algo.InvalidParameter: "
_FIRST_GENERATION = frozenset({"text-embedding-v1", "text-embedding-v2"})
_TOKENS_WHERE_UNKNOWN = 8_192
_DIMENSION_WHERE_UNKNOWN = 1_024
_LARGEST_DIMENSION = 8_192


@dataclass(frozen=True)
class EmbeddingRequest:
    """A request that the service takes.

    Attributes:
        model: The row of the model that it names.
        texts: The texts, none blank.
        dimension: The length of the vectors.
        text_type: What the texts are.
        instruct: The task that queries serve; `None` where there is none and for documents.
        output_type: Which vectors are wanted.
        tokens: How many tokens the texts have together.
    """

    model: Model
    texts: tuple[str, ...]
    dimension: int
    text_type: TextType
    instruct: str | None
    output_type: OutputType
    tokens: int


class RefusalError(Exception):
    """The service's refusal of a request.

    Attributes:
        status: The HTTP status.
        code: The service's code.
        message: The service's message.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message


def check_key(presented: str | None, expected: str) -> None:
    """Refuse a request that does not present the expected API key.

    Raises:
        RefusalError: 401 `InvalidApiKey`.
    """
    if presented != expected:
        raise RefusalError(401, "InvalidApiKey", "Invalid API-key provided.")


def not_found(method: str, path: str) -> RefusalError:
    """Return the refusal of a request for anything other than embeddings."""
    return RefusalError(
        404, "NotFound", f"This emulator has no {method} {path}. It has POST {EMBEDDING_PATH} only."
    )


def too_large() -> RefusalError:
    """Return the refusal of a body above 16 MiB."""
    return RefusalError(413, "BadRequest.TooLarge", "Payload Too Large.")


def read_request(body: object, models: Mapping[str, Model]) -> EmbeddingRequest:
    """Return the request that a body makes.

    Args:
        body: The parsed JSON of the body, `None` where it is not JSON.
        models: The models that exist, by name.

    Raises:
        RefusalError: When the service would not take it.
    """
    if not isinstance(body, dict):
        raise _invalid("The request body must be a JSON object.")
    model = _read_model(body.get("model"), models)
    texts, tokens = _read_texts(body.get("input"), model)
    parameters = body.get("parameters")
    if not isinstance(parameters, dict):
        raise _invalid('"parameters" must be present and an object: {} where there are none.')
    text_type = _read_choice(parameters, "text_type", ("document", "query"))
    instruct = _read_instruct(parameters.get("instruct"), model)
    return EmbeddingRequest(
        model=model,
        texts=texts,
        dimension=_read_dimension(parameters.get("dimension"), model),
        text_type=cast("TextType", text_type),
        instruct=instruct if text_type == "query" else None,
        output_type=_read_output_type(parameters, model),
        tokens=tokens,
    )


def _read_model(name: object, models: Mapping[str, Model]) -> Model:
    if not isinstance(name, str):
        raise _invalid('"model" must be present and a string.')
    if name not in models:
        raise RefusalError(
            404,
            "ModelNotFound",
            f"The model `{name}` does not exist or you do not have access to it.",
        )
    return models[name]


def _read_texts(given: object, model: Model) -> tuple[tuple[str, ...], int]:
    """Return the texts and how many tokens they have together."""
    texts = given.get("texts") if isinstance(given, dict) else None
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise _invalid(
            f"{_ALGO}Value error, contents is neither str nor list of str.: input.contents"
        )
    first_generation = model.name in _FIRST_GENERATION
    cap = model.texts_per_request
    if len(texts) > cap:
        reason = f"batch size is invalid, it should not be larger than {cap}."
        raise _invalid(
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
            raise _invalid(allowed if first_generation else _ALGO + allowed)
        tokens += count
    return tuple(texts), tokens


def _read_dimension(asked: object, model: Model) -> int:
    default = model.default_dimension or _DIMENSION_WHERE_UNKNOWN
    # The first generation has one length and ignores the parameter.
    if asked is None or model.name in _FIRST_GENERATION:
        return default
    allowed = sorted(model.dimensions)
    is_number = isinstance(asked, int) and not isinstance(asked, bool)
    if is_number and (
        asked in allowed or (not allowed and 1 <= cast("int", asked) <= _LARGEST_DIMENSION)
    ):
        return cast("int", asked)
    raise _invalid(
        f"{_ALGO}Value error, dimension for embedding v3 is invalid, "
        f"its value shold be in {allowed or [1, _LARGEST_DIMENSION]}"
    )


def _read_instruct(instruct: object, model: Model) -> str | None:
    if instruct is None:
        return None
    if not isinstance(instruct, str):
        raise _invalid('"instruct" must be a string.')
    if not model.instruct:
        raise _invalid(f"The model `{model.name}` does not support the parameter instruct.")
    return instruct


def _read_output_type(parameters: Mapping[str, Any], model: Model) -> OutputType:
    asked = _read_choice(parameters, "output_type", ("dense", "sparse", "dense&sparse"))
    if asked != "dense" and not model.sparse:
        raise _invalid(
            f"The model `{model.name}` does not support the output_type {asked}: "
            "it makes dense vectors only."
        )
    return cast("OutputType", asked)


def _read_choice(parameters: Mapping[str, Any], name: str, choices: tuple[str, ...]) -> str:
    """Return a parameter's value, the first choice where it has none."""
    asked = parameters.get(name)
    if asked is None:
        return choices[0]
    if asked not in choices:
        raise _invalid(f'"{name}" must be one of {", ".join(choices)}.')
    return cast("str", asked)


def _invalid(message: str) -> RefusalError:
    return RefusalError(400, "InvalidParameter", message)

"""The native protocol of the service: reads its requests and formats its responses."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any, cast

from qwen_embed.emulator.dialects.request import (
    DOCUMENT,
    ApiError,
    EmbeddingRequest,
    OutputType,
    Role,
)
from qwen_embed.emulator.dialects.responses import Response, Vectors, json_response, numbers
from qwen_embed.emulator.dialects.rules import (
    default_dimension,
    invalid,
    read_dimension,
    read_model,
    read_object,
    read_texts,
)
from qwen_embed.models import Model


class Native:
    """The dialect that `dashscope.TextEmbedding` uses."""

    root = "/api/v1"
    path = "/api/v1/services/embeddings/text-embedding/text-embedding"

    def read(self, body: object, models: Mapping[str, Model]) -> EmbeddingRequest:
        """Return the request in a body.

        Args:
            body: The parsed JSON, or `None` if the body is not JSON.
            models: The models that exist, by name.

        Raises:
            ApiError: When the service would reject the request.
        """
        fields = read_object(body)
        model = read_model(fields.get("model"), models)
        contents = fields.get("input")
        texts, tokens = read_texts(
            contents.get("texts") if isinstance(contents, dict) else None, model
        )
        parameters = fields.get("parameters")
        if not isinstance(parameters, dict):
            raise invalid('"parameters" must be present and an object ({} if there are none).')
        role = _read_role(parameters, model)
        dimension = parameters.get("dimension")
        return EmbeddingRequest(
            model=model,
            texts=texts,
            roles=(role,) * len(texts),
            dimension=default_dimension(model)
            if dimension is None
            else read_dimension(dimension, model),
            tokens=tokens,
            output_type=_read_output_type(parameters, model),
        )

    def success(
        self, request: EmbeddingRequest, vectors: Vectors, order: Iterable[int]
    ) -> Response:
        """Return the response with the vectors, in the given order of indices."""
        dense = None if vectors.dense is None else numbers(vectors.dense)
        embeddings = []
        for index in order:
            embedding: dict[str, Any] = {"text_index": index}
            if dense is not None:
                embedding["embedding"] = dense[index]
            if vectors.sparse is not None:
                embedding["sparse_embedding"] = vectors.sparse[index]
            embeddings.append(embedding)
        usage = {"total_tokens": request.tokens}
        return json_response(200, _with_id(output={"embeddings": embeddings}, usage=usage))

    def error(self, error: ApiError) -> Response:
        """Return the error response."""
        return json_response(
            error.status, _with_id(code=error.code, message=error.message), error.code
        )


def _with_id(**body: Any) -> dict[str, Any]:
    return {**body, "request_id": str(uuid.uuid4())}


def _read_role(parameters: Mapping[str, Any], model: Model) -> Role:
    text_type = _read_choice(parameters, "text_type", ("document", "query"))
    instruct = _read_instruct(parameters.get("instruct"), model)
    return Role("query", instruct) if text_type == "query" else DOCUMENT


def _read_instruct(instruct: object, model: Model) -> str | None:
    if instruct is None:
        return None
    if not isinstance(instruct, str):
        raise invalid('"instruct" must be a string.')
    if not model.instruct:
        raise invalid(f"The model `{model.name}` does not support the parameter instruct.")
    return instruct


def _read_output_type(parameters: Mapping[str, Any], model: Model) -> OutputType:
    output_type = _read_choice(parameters, "output_type", ("dense", "sparse", "dense&sparse"))
    if output_type != "dense" and not model.sparse:
        raise invalid(
            f"The model `{model.name}` does not support the output_type {output_type}: "
            "it makes dense vectors only."
        )
    return cast("OutputType", output_type)


def _read_choice(parameters: Mapping[str, Any], name: str, choices: tuple[str, ...]) -> str:
    """Return the value of a parameter; the default is the first choice."""
    value = parameters.get(name)
    if value is None:
        return choices[0]
    if value not in choices:
        raise invalid(f'"{name}" must be one of {", ".join(choices)}.')
    return cast("str", value)

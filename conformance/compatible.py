"""The questions about the OpenAI-compatible protocol, with the documented facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conformance import observations as obs
from conformance.calls import COMPATIBLE_PATH, Request, Response
from conformance.observations import Observation, Observe, of_success
from conformance.question import Certainty, Question
from conformance.questions import INSTRUCT, TEXT, UNKNOWN_WORKSPACE, V4, embed

MODULE = "qwen_embed/emulator/dialects/openai.py"

_ERROR = "error(code, message, param, type)"


def ask(contents: Any, model: str = V4, **options: Any) -> Request:
    """Return a request for vectors with this protocol."""
    sent = {key: options.pop(key) for key in ("key", "headers") if key in options}
    return Request(
        {"model": model, "input": contents, **options},
        protocol="compatible",
        path=COMPATIBLE_PATH,
        **sent,
    )


def compatible_questions() -> list[Question]:
    """Return the questions, with the documented facts."""
    return [*_successes(), *_errors()]


def _question(
    title: str,
    requests: Sequence[Request],
    observe: Observe,
    expected: Mapping[str, tuple[str, ...]],
    certainty: Certainty = "documented",
) -> Question:
    title = f"Compatible: {title}"
    return Question(title, tuple(requests), observe, MODULE, certainty=certainty, expected=expected)


def _successes() -> list[Question]:
    six = [f"text number {number}" for number in range(6)]
    ok = {"status": ("200",)}
    return [
        _question(
            "text_type, instruct and output_type as extra fields raise no error and have no effect",
            [ask([TEXT]), ask([TEXT], text_type="query", instruct=INSTRUCT, output_type="sparse")],
            of_success(_of_extra_fields),
            {**ok, "same vector": ("exactly", "nearly"), "sparse vectors": ("no",)},
            "guess",
        ),
        _question(
            "encoding_format base64: base64 or floats",
            [ask([TEXT], encoding_format="float"), ask([TEXT], encoding_format="base64")],
            of_success(_of_encodings),
            {
                **ok,
                "float returns": ("list",),
                "base64 returns": ("str", "list"),
                "both are the same vector": ("exactly", "nearly"),
            },
            "unknown",
        ),
        _question(
            "whether a vector equals the native one of a document",
            [ask([TEXT]), embed([TEXT])],
            of_success(
                lambda responses: Observation(
                    {"equals the native one": obs.dense_alike(*responses)}
                )
            ),
            {**ok, "equals the native one": ("exactly", "nearly")},
            "guess",
        ),
        _question(
            "the format of a success: keys, order",
            [ask(six)],
            of_success(lambda responses: Observation(obs.success_shape(responses[0]))),
            {
                **ok,
                "keys of the body": ("data, id, model, object, usage",),
                "keys of an item": ("embedding, index, object",),
                "keys of usage": ("prompt_tokens, total_tokens",),
                "one vector per text": ("yes",),
                "media type": ("application/json",),
            },
        ),
        _question(
            "a single text without a list",
            [ask("a")],
            of_success(lambda responses: Observation({"items": str(len(obs.items(responses[0])))})),
            {**ok, "items": ("1",)},
        ),
        _question(
            "`dimensions`",
            [ask([TEXT], dimensions=256)],
            of_success(lambda responses: Observation({"vector": obs.length(responses[0])})),
            {**ok, "vector": ("256 numbers, unit length", "256 numbers, not unit length")},
        ),
    ]


def _of_extra_fields(responses: Sequence[Response]) -> Observation:
    plain, extra = responses
    return Observation(
        {
            "same vector": obs.dense_alike(plain, extra),
            "sparse vectors": obs.yes("sparse_embedding" in obs.items(extra)[0]),
        }
    )


def _of_encodings(responses: Sequence[Response]) -> Observation:
    floats, packed = responses
    return Observation(
        {
            "float returns": type(obs.items(floats)[0]["embedding"]).__name__,
            "base64 returns": type(obs.items(packed)[0]["embedding"]).__name__,
            "both are the same vector": obs.dense_alike(floats, packed),
        }
    )


def _errors() -> list[Question]:
    return [
        _question(
            "an empty text",
            [ask([""])],
            _of_error,
            {"status": ("400",)},
            "unknown",
        ),
        _question(
            "a wrong key",
            [ask(["a"], key="wrong")],
            _of_error,
            {
                "status": ("401",),
                "code": ("invalid_api_key",),
                "keys of the body": (f"{_ERROR}, request_id",),
            },
        ),
        _question(
            "more texts than the cap",
            [ask(["a"] * 11)],
            _of_cap,
            {
                "status": ("400",),
                "code": ("InvalidParameter", "invalid_parameter_error"),
                "keys of the body": (f"{_ERROR}, id, request_id",),
                "named cap": ("10",),
            },
        ),
        _question(
            "an unknown encoding_format",
            [ask(["a"], encoding_format="int8")],
            _of_error,
            {"status": ("400",), "keys of the body": ("error(message, type), request_id",)},
        ),
        _question(
            "no access: an unknown workspace",
            [ask(["a"], headers=UNKNOWN_WORKSPACE)],
            _of_error,
            {
                "status": ("401", "403"),
                "keys of the body": ("error(code, id, message, type)",),
            },
        ),
        _question(
            "token ids",
            [ask([[1820, 9987]])],
            _of_error,
            {"status": ("400",), "code": ("InvalidParameter", "invalid_parameter_error")},
        ),
        _question(
            "an unknown model",
            [ask(["a"], "text-embedding-v0")],
            _of_error,
            {"status": ("400", "404"), "code": ("model_not_found", "model_not_supported")},
        ),
    ]


def _of_error(responses: Sequence[Response]) -> Observation:
    return Observation(obs.error_shape(responses[0]))


def _of_cap(responses: Sequence[Response]) -> Observation:
    shape = obs.error_shape(responses[0])
    return Observation({**shape, "named cap": obs.cap_named(responses[0])})

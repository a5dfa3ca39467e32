"""The questions about the OpenAI-compatible protocol, and what the documentation says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conformance import observations as see
from conformance.calls import COMPATIBLE_PATH, Call, Reply
from conformance.observations import Observation, Observe, of_success
from conformance.question import Mark, Question
from conformance.questions import INSTRUCT, TEXT, UNKNOWN_WORKSPACE, V4, embed

MODULE = "qwen_embed/emulator/dialects/openai.py"

_ERROR = "error(code, message, param, type)"


def ask(given: Any, model: str = V4, **options: Any) -> Call:
    """Return the call that asks for vectors by this protocol."""
    sent = {key: options.pop(key) for key in ("key", "headers") if key in options}
    return Call(
        {"model": model, "input": given, **options},
        protocol="compatible",
        path=COMPATIBLE_PATH,
        **sent,
    )


def compatible_questions() -> list[Question]:
    """Return the questions with the answers that are documented."""
    return [*_successes(), *_refusals()]


def _question(
    title: str,
    calls: Sequence[Call],
    observe: Observe,
    expected: Mapping[str, tuple[str, ...]],
    mark: Mark = "documented",
) -> Question:
    title = f"Compatible: {title}"
    return Question(title, tuple(calls), observe, MODULE, mark=mark, expected=expected)


def _successes() -> list[Question]:
    six = [f"text number {number}" for number in range(6)]
    ok = {"status": ("200",)}
    return [
        _question(
            "text_type, instruct and output_type as extra fields raise no error and do nothing",
            [ask([TEXT]), ask([TEXT], text_type="query", instruct=INSTRUCT, output_type="sparse")],
            of_success(_of_extra_fields),
            {**ok, "they leave the vector": ("exactly", "nearly"), "sparse vectors": ("no",)},
            "guess",
        ),
        _question(
            "encoding_format base64: base64 or floats",
            [ask([TEXT], encoding_format="float"), ask([TEXT], encoding_format="base64")],
            of_success(_of_encodings),
            {
                **ok,
                "float gives": ("list",),
                "base64 gives": ("str", "list"),
                "both are one vector": ("exactly", "nearly"),
            },
            "unknown",
        ),
        _question(
            "whether a vector is the native one of a document",
            [ask([TEXT]), embed([TEXT])],
            of_success(
                lambda replies: Observation({"as the native one": see.dense_alike(*replies)})
            ),
            {**ok, "as the native one": ("exactly", "nearly")},
            "guess",
        ),
        _question(
            "the form of a success: names, order",
            [ask(six)],
            of_success(lambda replies: Observation(see.success_shape(replies[0]))),
            {
                **ok,
                "names in the body": ("data, id, model, object, usage",),
                "names in a row": ("embedding, index, object",),
                "names in usage": ("prompt_tokens, total_tokens",),
                "a row for each text": ("yes",),
                "kind of content": ("application/json",),
            },
        ),
        _question(
            "a single text that is not in a list",
            [ask("a")],
            of_success(lambda replies: Observation({"rows": str(len(see.rows(replies[0])))})),
            {**ok, "rows": ("1",)},
        ),
        _question(
            "`dimensions`",
            [ask([TEXT], dimensions=256)],
            of_success(lambda replies: Observation({"row": see.length(replies[0])})),
            {**ok, "row": ("256 numbers, unit length", "256 numbers, not unit length")},
        ),
    ]


def _of_extra_fields(replies: Sequence[Reply]) -> Observation:
    plain, extra = replies
    return Observation(
        {
            "they leave the vector": see.dense_alike(plain, extra),
            "sparse vectors": see.yes("sparse_embedding" in see.rows(extra)[0]),
        }
    )


def _of_encodings(replies: Sequence[Reply]) -> Observation:
    floats, packed = replies
    return Observation(
        {
            "float gives": type(see.rows(floats)[0]["embedding"]).__name__,
            "base64 gives": type(see.rows(packed)[0]["embedding"]).__name__,
            "both are one vector": see.dense_alike(floats, packed),
        }
    )


def _refusals() -> list[Question]:
    return [
        _question(
            "an empty text",
            [ask([""])],
            _of_refusal,
            {"status": ("400",)},
            "unknown",
        ),
        _question(
            "a wrong key",
            [ask(["a"], key="wrong")],
            _of_refusal,
            {
                "status": ("401",),
                "code": ("invalid_api_key",),
                "names in the body": (f"{_ERROR}, request_id",),
            },
        ),
        _question(
            "more texts than the cap",
            [ask(["a"] * 11)],
            _of_cap,
            {
                "status": ("400",),
                "code": ("InvalidParameter", "invalid_parameter_error"),
                "names in the body": (f"{_ERROR}, id, request_id",),
                "the cap named": ("10",),
            },
        ),
        _question(
            "an encoding_format that does not exist",
            [ask(["a"], encoding_format="int8")],
            _of_refusal,
            {"status": ("400",), "names in the body": ("error(message, type), request_id",)},
        ),
        _question(
            "no access: a workspace that does not exist",
            [ask(["a"], headers=UNKNOWN_WORKSPACE)],
            _of_refusal,
            {
                "status": ("401", "403"),
                "names in the body": ("error(code, id, message, type)",),
            },
        ),
        _question(
            "token ids",
            [ask([[1820, 9987]])],
            _of_refusal,
            {"status": ("400",), "code": ("InvalidParameter", "invalid_parameter_error")},
        ),
        _question(
            "a model that does not exist",
            [ask(["a"], "text-embedding-v0")],
            _of_refusal,
            {"status": ("400", "404"), "code": ("model_not_found", "model_not_supported")},
        ),
    ]


def _of_refusal(replies: Sequence[Reply]) -> Observation:
    return Observation(see.refusal_shape(replies[0]))


def _of_cap(replies: Sequence[Reply]) -> Observation:
    shape = see.refusal_shape(replies[0])
    return Observation({**shape, "the cap named": see.cap_named(replies[0])})

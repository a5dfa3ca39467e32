"""Self-hosted servers of Qwen3-Embedding; tests compare full bodies."""

import base64
import doctest
import uuid

import numpy as np
import pytest

from qwen_embed.emulator import Emulator
from qwen_embed.emulator.dialects import qwen3
from qwen_embed.emulator.dialects.qwen3 import read_prompt
from qwen_embed.emulator.dialects.request import DOCUMENT, Role

from .calls import EMBEDDING_PATH, Response, embed_openai, post, post_openai

SMALL = "Qwen/Qwen3-Embedding-0.6B"
VLLMS = ["vllm", "vllm-matryoshka", "vllm-0.10.0"]
ALL = [*VLLMS, "tei", "lm-studio"]


@pytest.fixture
def server(request):
    with Emulator(backend=request.param) as server:
        yield server


def each(*names):
    return pytest.mark.parametrize("server", names, indirect=True)


def ask(server, given, model=SMALL, **fields) -> Response:
    return embed_openai(server, given, model=model, **fields)


def vectors(response: Response) -> np.ndarray:
    assert response.status == 200, response.raw
    return np.array([item["embedding"] for item in response.json["data"]])


def of_vllm(message, kind="BadRequestError", status=400, param=None):
    error = {"message": message, "type": kind, "param": param, "code": status}
    return status, {"error": error}


def of_tei(message, kind="Validation", status=422):
    return status, {"message": message, "code": status, "type": kind}


def error_of(response: Response):
    return response.status, response.json


def test_the_docstring_examples_are_correct():
    assert doctest.testmod(qwen3).failed == 0


def test_an_unknown_backend_is_an_error():
    with pytest.raises(ValueError, match="no backend 'ollama': use service, vllm"):
        Emulator(backend="ollama")


@each(*ALL)
def test_it_has_only_the_url_of_the_openai_protocol(server):
    assert server.openai_url.startswith("http://127.0.0.1:")
    assert server.openai_url.endswith("/v1")
    with pytest.raises(RuntimeError, match="does not speak the native protocol"):
        _ = server.native_url
    response = post(server, {}, url=server.openai_url.removesuffix("/v1") + EMBEDDING_PATH)
    assert response.status == 404


@each(*ALL)
def test_no_key_is_required_unless_one_is_set(server):
    assert post_openai(server, {"model": SMALL, "input": "a"}, key=None).status == 200
    server.api_key = "sk-mine"
    assert post_openai(server, {"model": SMALL, "input": "a"}, key=None).status == 401
    assert post_openai(server, {"model": SMALL, "input": "a"}, key="sk-mine").status == 200


@pytest.mark.parametrize(("backend", "body"), [("vllm", b'{"error":"Unauthorized"}'), ("tei", b"")])
def test_a_wrong_key_is_rejected(backend, body):
    with Emulator(backend=backend, api_key="sk-mine") as server:
        response = ask(server, "a")
    assert (response.status, response.raw) == (401, body)


@each(*ALL)
@pytest.mark.parametrize(
    ("model", "dimension"),
    [
        (SMALL, 1024),
        ("Qwen/Qwen3-Embedding-4B", 2560),
        ("Qwen/Qwen3-Embedding-8B", 4096),
        ("text-embedding-qwen3-embedding-8b", 4096),
        ("qwen3-embedding:4b", 2560),
    ],
)
def test_vectors_have_the_length_of_the_model(server, model, dimension):
    embedded = vectors(ask(server, ["a cat", "a dog"], model=model))
    assert embedded.shape == (2, dimension)
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1, atol=1e-5)


@each(*VLLMS)
def test_a_success_has_exactly_the_format_of_vllm(server):
    body = ask(server, ["风急天高", "hello"]).json
    assert all(len(item.pop("embedding")) == 1024 for item in body["data"])
    assert uuid.UUID(body.pop("id").removeprefix("embd-"))
    assert isinstance(body.pop("created"), int)
    assert body == {
        "object": "list",
        "model": SMALL,
        "data": [{"index": 0, "object": "embedding"}, {"index": 1, "object": "embedding"}],
        "usage": {
            "prompt_tokens": 6,
            "total_tokens": 6,
            "completion_tokens": 0,
            "prompt_tokens_details": None,
        },
    }


@each("tei")
def test_a_success_has_exactly_the_format_of_tei(server):
    body = ask(server, ["风急天高", "hello"]).json
    assert all(len(item.pop("embedding")) == 1024 for item in body["data"])
    assert body == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0}, {"object": "embedding", "index": 1}],
        "model": SMALL,
        "usage": {"prompt_tokens": 6, "total_tokens": 6},
    }


@each("vllm", "tei")
def test_base64_holds_the_same_numbers(server):
    (packed,) = ask(server, "a", encoding_format="base64").json["data"]
    unpacked = np.frombuffer(base64.b64decode(packed["embedding"]), dtype="<f4")
    assert unpacked.tolist() == vectors(ask(server, "a"))[0].tolist()


@each("vllm")
def test_vllm_rejects_dimensions(server):
    message = (
        f'Model "{SMALL}" does not support matryoshka representation, '
        "changing output dimensions will lead to poor results."
    )
    assert error_of(ask(server, "a", dimensions=1024)) == of_vllm(message)
    assert server.requests[0].code == "BadRequestError"
    assert ask(server, "a", dimensions=None).status == 200


@each("vllm-0.10.0")
def test_errors_of_older_versions_are_flat(server):
    status, body = error_of(ask(server, "a", dimensions=512))
    assert body.pop("message").startswith(f'Model "{SMALL}" does not support matryoshka')
    assert (status, body) == (
        400,
        {"object": "error", "type": "BadRequestError", "param": None, "code": 400},
    )


@each("vllm-matryoshka", "tei")
@pytest.mark.parametrize("dimension", [1, 64, 1024])
def test_dimensions_truncate_the_vector_and_scale_it_to_unit_length(server, dimension):
    full = vectors(ask(server, ["a cat"]))[0]
    truncated = vectors(ask(server, ["a cat"], dimensions=dimension))[0]
    expected = full[:dimension] / np.linalg.norm(full[:dimension])
    np.testing.assert_allclose(truncated, expected, atol=1e-6)


@each("vllm-matryoshka")
def test_vllm_rejects_a_dimension_below_1_and_accepts_one_above_the_maximum(server):
    message = "Dimensions must be greater than 0"
    assert error_of(ask(server, "a", dimensions=0)) == of_vllm(message)
    assert vectors(ask(server, "a", dimensions=5000)).shape == (1, 1024)


@each("tei")
@pytest.mark.parametrize(
    ("dimension", "reason"),
    [
        (0, "`dimensions` should be positive"),
        (1025, "`dimensions` should be smaller than the maximum embedding dimension."),
    ],
)
def test_tei_rejects_dimensions_out_of_range(server, dimension, reason):
    expected = of_tei(f"Input validation error: {reason}")
    assert error_of(ask(server, "a", dimensions=dimension)) == expected


@each("lm-studio")
def test_lm_studio_ignores_dimensions_and_encodings(server):
    plain = vectors(ask(server, "a"))
    assert plain.shape == (1, 1024)
    ignored = ask(server, "a", dimensions=256, encoding_format="base64")
    assert vectors(ignored).tolist() == plain.tolist()


@each("vllm", "vllm-matryoshka", "lm-studio")
def test_an_unknown_model_is_not_found(server):
    expected = of_vllm("The model `bge-m3` does not exist.", "NotFoundError", 404)
    assert error_of(ask(server, "a", model="bge-m3")) == expected


@each("vllm")
def test_vllm_does_not_require_a_model(server):
    assert post_openai(server, {"input": "a"}).json["model"] == SMALL


@each("tei")
def test_tei_serves_one_model_whatever_is_requested(server):
    assert ask(server, "a", model="bge-m3").json["model"] == SMALL


@each("tei")
def test_tei_limits_the_texts_per_request_and_the_limit_can_be_changed(server):
    assert ask(server, ["a"] * 32).status == 200
    expected = of_tei("batch size 33 > maximum allowed batch size 32")
    assert error_of(ask(server, ["a"] * 33)) == expected
    server.set_model(SMALL, texts_per_request=8)
    assert error_of(ask(server, ["a"] * 9))[1]["message"].endswith("batch size 8")


@each("vllm", "lm-studio")
def test_others_accept_any_number_of_texts(server):
    assert len(vectors(ask(server, ["a"] * 50))) == 50


@each("vllm")
def test_vllm_rejects_a_text_that_is_too_long(server):
    server.set_model(SMALL, tokens_per_text=100)
    message = (
        "You passed 101 input tokens and requested 0 output tokens. However, the model's context "
        "length is only 100 tokens, resulting in a maximum input length of 100 tokens. Please "
        "reduce the length of the input prompt. (parameter=input_tokens, value=101)"
    )
    assert ask(server, "风" * 100).status == 200
    assert error_of(ask(server, "风" * 101)) == of_vllm(message, param="input_tokens")


@each("tei")
def test_tei_silently_truncates_a_text_that_is_too_long(server):
    server.set_model(SMALL, tokens_per_text=4)
    truncated, full = ask(server, "风急天高猿啸哀"), ask(server, "风急天高")
    assert vectors(truncated).tolist() == vectors(full).tolist()
    assert truncated.json["usage"]["total_tokens"] == 4


@each("tei")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "`inputs` cannot be empty"),
        ("", "Input validation error: `inputs` cannot be empty"),
        (["a", ""], "Input validation error: `inputs` cannot be empty"),
    ],
)
def test_tei_rejects_empty_input(server, given, message):
    assert error_of(ask(server, given)) == of_tei(message, "Empty", 400)


@each("vllm")
def test_vllm_accepts_a_blank_text(server):
    embedded = vectors(ask(server, ["", " "]))
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1, atol=1e-5)


@each(*ALL)
@pytest.mark.parametrize("given", [[1820, 9987], [[1820, 9987]]])
def test_token_ids_are_accepted_but_embedded_as_other_text(server, given):
    response = ask(server, given)
    assert vectors(response).shape == (1, 1024)
    assert response.json["usage"]["total_tokens"] == 2


@each("vllm")
@pytest.mark.parametrize(
    ("body", "param"),
    [
        (None, "body"),
        ([], "body"),
        ({"model": SMALL}, "body.input"),
        ({"model": SMALL, "input": []}, "body.input"),
        ({"model": SMALL, "input": ["a", None]}, "body.input"),
        ({"model": SMALL, "input": [True]}, "body.input"),
        ({"model": SMALL, "input": "a", "dimensions": "64"}, "body.dimensions"),
        ({"model": SMALL, "input": "a", "encoding_format": None}, "body.encoding_format"),
    ],
)
def test_vllm_rejects_a_malformed_body(server, body, param):
    expected = of_vllm(f"1 validation error: {param}", "Bad Request", param=param)
    assert error_of(post_openai(server, body)) == expected


@each("tei")
@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, b"Failed to parse the request body as JSON"),
        ({"input": {}}, 422, b"Failed to deserialize the JSON body into the target type"),
        (
            {"input": "a", "encoding_format": None},
            422,
            b"Failed to deserialize the JSON body into the target type",
        ),
        (
            {"input": "a", "dimensions": -1},
            422,
            b"Failed to deserialize the JSON body into the target type",
        ),
    ],
)
def test_tei_rejects_a_malformed_body_with_plain_text(server, body, status, words):
    response = post_openai(server, body)
    assert (response.status, response.raw) == (status, words)
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a cat", ("a cat", DOCUMENT)),
        ("Instruct: Find it\nQuery:a cat", ("a cat", Role("query", "Find it"))),
        ("Instruct: Find it\nQuery: a\ncat", ("a\ncat", Role("query", "Find it"))),
        ("Instruct: \nQuery:a cat", ("a cat", Role("query"))),
        ("Instruct: Find it\nQuery:", ("Instruct: Find it\nQuery:", DOCUMENT)),
        ("Query:a cat", ("Query:a cat", DOCUMENT)),
        (" \n", ("<|endoftext|>", DOCUMENT)),
    ],
)
def test_the_role_is_read_from_the_text(text, read):
    assert read_prompt(text) == read


class RecordingEngine:
    """An engine that records its calls."""

    dimension = 8

    def __init__(self):
        self.calls = []

    def embed(self, texts, *, text_type, instruct):
        self.calls.append((texts, text_type, instruct))
        return np.eye(8)[[len(text) % 8 for text in texts]]


def test_the_engine_is_called_once_per_role_and_vectors_stay_in_order():
    engine = RecordingEngine()
    texts = ["a", "Instruct: Find it\nQuery:bb", "ccc", "Instruct: Find it\nQuery:dddd"]
    with Emulator(backend="vllm", engine=engine) as server:
        together = vectors(ask(server, texts))
        calls = engine.calls[:]
        alone = [vectors(ask(server, text))[0] for text in texts]
    assert calls == [(["a", "ccc"], "document", None), (["bb", "dddd"], "query", "Find it")]
    assert together.tolist() == [vector.tolist() for vector in alone]


@each("vllm")
def test_injected_errors_have_the_format_of_vllm(server):
    server.fail_next(status=503, code="ServiceUnavailable", message="Busy.")
    assert error_of(ask(server, "a")) == of_vllm("Busy.", "ServiceUnavailable", 503)


@each("tei")
def test_injected_errors_have_the_format_of_tei(server):
    server.fail_next(status=429, code="Overloaded", message="Model is overloaded")
    assert error_of(ask(server, "a")) == of_tei("Model is overloaded", "Overloaded", 429)


@each("vllm")
def test_vectors_can_be_shuffled_and_base64_printed_as_numbers(server):
    server.shuffle = server.base64_as_floats = True
    items = ask(server, ["a"] * 10, encoding_format="base64").json["data"]
    order = [item["index"] for item in items]
    assert order != sorted(order)
    assert len(items[0]["embedding"]) == 1024

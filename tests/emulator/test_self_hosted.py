"""Servers of the open-weight Qwen3-Embedding, whole bodies compared."""

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


def vectors(reply: Response) -> np.ndarray:
    assert reply.status == 200, reply.raw
    return np.array([row["embedding"] for row in reply.json["data"]])


def of_vllm(message, kind="BadRequestError", status=400, param=None):
    error = {"message": message, "type": kind, "param": param, "code": status}
    return status, {"error": error}


def of_tei(message, kind="Validation", status=422):
    return status, {"message": message, "code": status, "type": kind}


def error_of(reply: Response):
    return reply.status, reply.json


def test_the_examples_in_docstrings_are_true():
    assert doctest.testmod(qwen3).failed == 0


def test_a_server_that_nobody_knows_is_a_mistake():
    with pytest.raises(ValueError, match="no backend 'ollama': use service, vllm"):
        Emulator(backend="ollama")


@each(*ALL)
def test_its_address_is_that_of_the_openai_protocol_alone(server):
    assert server.openai_url.startswith("http://127.0.0.1:")
    assert server.openai_url.endswith("/v1")
    with pytest.raises(RuntimeError, match="does not speak the native protocol"):
        _ = server.native_url
    reply = post(server, {}, url=server.openai_url.removesuffix("/v1") + EMBEDDING_PATH)
    assert reply.status == 404


@each(*ALL)
def test_no_key_is_asked_for_unless_one_is_chosen(server):
    assert post_openai(server, {"model": SMALL, "input": "a"}, key=None).status == 200
    server.api_key = "sk-mine"
    assert post_openai(server, {"model": SMALL, "input": "a"}, key=None).status == 401
    assert post_openai(server, {"model": SMALL, "input": "a"}, key="sk-mine").status == 200


@pytest.mark.parametrize(("backend", "body"), [("vllm", b'{"error":"Unauthorized"}'), ("tei", b"")])
def test_a_wrong_key_is_refused(backend, body):
    with Emulator(backend=backend, api_key="sk-mine") as server:
        reply = ask(server, "a")
    assert (reply.status, reply.raw) == (401, body)


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
    rows = vectors(ask(server, ["a cat", "a dog"], model=model))
    assert rows.shape == (2, dimension)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


@each(*VLLMS)
def test_a_success_has_exactly_the_shape_of_vllm(server):
    body = ask(server, ["风急天高", "hello"]).json
    assert all(len(row.pop("embedding")) == 1024 for row in body["data"])
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
def test_a_success_has_exactly_the_shape_of_tei(server):
    body = ask(server, ["风急天高", "hello"]).json
    assert all(len(row.pop("embedding")) == 1024 for row in body["data"])
    assert body == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0}, {"object": "embedding", "index": 1}],
        "model": SMALL,
        "usage": {"prompt_tokens": 6, "total_tokens": 6},
    }


@each("vllm", "tei")
def test_base64_is_the_same_numbers(server):
    (packed,) = ask(server, "a", encoding_format="base64").json["data"]
    unpacked = np.frombuffer(base64.b64decode(packed["embedding"]), dtype="<f4")
    assert unpacked.tolist() == vectors(ask(server, "a"))[0].tolist()


@each("vllm")
def test_vllm_refuses_dimensions(server):
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
def test_dimensions_cut_the_vector_and_make_it_a_unit_again(server, dimension):
    whole = vectors(ask(server, ["a cat"]))[0]
    cut = vectors(ask(server, ["a cat"], dimensions=dimension))[0]
    expected = whole[:dimension] / np.linalg.norm(whole[:dimension])
    np.testing.assert_allclose(cut, expected, atol=1e-6)


@each("vllm-matryoshka")
def test_vllm_refuses_a_dimension_below_1_and_takes_one_above_the_models(server):
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
def test_tei_refuses_dimensions_out_of_range(server, dimension, reason):
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
def test_vllm_needs_no_model(server):
    assert post_openai(server, {"input": "a"}).json["model"] == SMALL


@each("tei")
def test_tei_has_one_model_whatever_is_asked_for(server):
    assert ask(server, "a", model="bge-m3").json["model"] == SMALL


@each("tei")
def test_tei_has_a_cap_of_texts_that_may_be_moved(server):
    assert ask(server, ["a"] * 32).status == 200
    expected = of_tei("batch size 33 > maximum allowed batch size 32")
    assert error_of(ask(server, ["a"] * 33)) == expected
    server.set_model(SMALL, texts_per_request=8)
    assert error_of(ask(server, ["a"] * 9))[1]["message"].endswith("batch size 8")


@each("vllm", "lm-studio")
def test_others_take_any_number_of_texts(server):
    assert len(vectors(ask(server, ["a"] * 50))) == 50


@each("vllm")
def test_vllm_refuses_a_text_that_is_too_long(server):
    server.set_model(SMALL, tokens_per_text=100)
    message = (
        "You passed 101 input tokens and requested 0 output tokens. However, the model's context "
        "length is only 100 tokens, resulting in a maximum input length of 100 tokens. Please "
        "reduce the length of the input prompt. (parameter=input_tokens, value=101)"
    )
    assert ask(server, "风" * 100).status == 200
    assert error_of(ask(server, "风" * 101)) == of_vllm(message, param="input_tokens")


@each("tei")
def test_tei_cuts_a_text_that_is_too_long_without_a_word(server):
    server.set_model(SMALL, tokens_per_text=4)
    cut, whole = ask(server, "风急天高猿啸哀"), ask(server, "风急天高")
    assert vectors(cut).tolist() == vectors(whole).tolist()
    assert cut.json["usage"]["total_tokens"] == 4


@each("tei")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "`inputs` cannot be empty"),
        ("", "Input validation error: `inputs` cannot be empty"),
        (["a", ""], "Input validation error: `inputs` cannot be empty"),
    ],
)
def test_tei_refuses_what_is_empty(server, given, message):
    assert error_of(ask(server, given)) == of_tei(message, "Empty", 400)


@each("vllm")
def test_vllm_takes_a_blank_text(server):
    rows = vectors(ask(server, ["", " "]))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


@each(*ALL)
@pytest.mark.parametrize("given", [[1820, 9987], [[1820, 9987]]])
def test_token_ids_are_taken_for_something_else_than_they_mean(server, given):
    reply = ask(server, given)
    assert vectors(reply).shape == (1, 1024)
    assert reply.json["usage"]["total_tokens"] == 2


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
def test_vllm_refuses_a_body_of_another_form(server, body, param):
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
def test_tei_refuses_a_body_of_another_form_in_plain_words(server, body, status, words):
    reply = post_openai(server, body)
    assert (reply.status, reply.raw) == (status, words)
    assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"


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
def test_a_text_tells_whether_it_is_a_query(text, read):
    assert read_prompt(text) == read


class Roles:
    """An engine that notes what it is asked."""

    dimension = 8

    def __init__(self):
        self.asked = []

    def embed(self, texts, *, text_type, instruct):
        self.asked.append((texts, text_type, instruct))
        return np.eye(8)[[len(text) % 8 for text in texts]]


def test_the_engine_is_asked_once_for_each_role_and_rows_stay_in_order():
    engine = Roles()
    texts = ["a", "Instruct: Find it\nQuery:bb", "ccc", "Instruct: Find it\nQuery:dddd"]
    with Emulator(backend="vllm", engine=engine) as server:
        together = vectors(ask(server, texts))
        asked = engine.asked[:]
        alone = [vectors(ask(server, text))[0] for text in texts]
    assert asked == [(["a", "ccc"], "document", None), (["bb", "dddd"], "query", "Find it")]
    assert together.tolist() == [row.tolist() for row in alone]


@each("vllm")
def test_planned_failures_have_the_form_of_the_server(server):
    server.fail_next(status=503, code="ServiceUnavailable", message="Busy.")
    assert error_of(ask(server, "a")) == of_vllm("Busy.", "ServiceUnavailable", 503)


@each("tei")
def test_planned_failures_have_the_form_of_tei(server):
    server.fail_next(status=429, code="Overloaded", message="Model is overloaded")
    assert error_of(ask(server, "a")) == of_tei("Model is overloaded", "Overloaded", 429)


@each("vllm")
def test_rows_may_come_in_random_order_and_base64_as_numbers(server):
    server.shuffle = server.base64_as_floats = True
    rows = ask(server, ["a"] * 10, encoding_format="base64").json["data"]
    order = [row["index"] for row in rows]
    assert order != sorted(order)
    assert len(rows[0]["embedding"]) == 1024

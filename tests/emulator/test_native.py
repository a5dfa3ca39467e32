from dataclasses import replace

import pytest

from qwen_embed.emulator.dialects.request import DOCUMENT, ApiError, Role
from qwen_embed.models import MODELS, Model

from .calls import body_for, read_request

ALGO = "<400> InternalError.Algo.InvalidParameter: "
NOT_TEXTS = f"{ALGO}Value error, contents is neither str nor list of str.: input.contents"
NO_OBJECT = "The request body must be a JSON object."
NO_PARAMETERS = '"parameters" must be present and an object ({} if there are none).'


def too_many(cap):
    return (
        f"{ALGO}Value error, batch size is invalid, it should not be larger than {cap}."
        ": input.contents"
    )


def wrong_dimension(allowed):
    return (
        f"{ALGO}Value error, dimension for embedding v3 is invalid, its value shold be in {allowed}"
    )


def error_of(body, models=MODELS):
    with pytest.raises(ApiError) as caught:
        read_request(body, models)
    return caught.value.status, caught.value.code, caught.value.message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (None, NO_OBJECT),
        ([], NO_OBJECT),
        ("text", NO_OBJECT),
        ({"input": {"texts": ["a"]}, "parameters": {}}, '"model" must be present and a string.'),
        ({"model": "text-embedding-v4", "input": {"texts": ["a"]}}, NO_PARAMETERS),
        (body_for(["a"]) | {"parameters": None}, NO_PARAMETERS),
        (body_for(["a"]) | {"input": None}, NOT_TEXTS),
        (body_for(["a"]) | {"input": {"contents": ["a"]}}, NOT_TEXTS),
        (body_for([]), NOT_TEXTS),
        (body_for("a"), NOT_TEXTS),
        (body_for([[9906, 1917]]), NOT_TEXTS),
        (body_for(["a", None]), NOT_TEXTS),
        (body_for([{"text": "a"}]), NOT_TEXTS),
        (body_for(["a"] * 11), too_many(10)),
        (body_for(["a"] * 11, model="text-embedding-v3"), too_many(10)),
        (body_for(["a"] * 21, model="qwen3.7-text-embedding"), too_many(20)),
        (
            body_for(["a"] * 26, model="text-embedding-v2"),
            "batch size is invalid, it should not be larger than 25.: payload.input.contents",
        ),
        (body_for(["a", ""]), f"{ALGO}Range of input length should be [1, 8192]"),
        (body_for([" \n\u3000"]), f"{ALGO}Range of input length should be [1, 8192]"),
        (body_for(["风" * 8193]), f"{ALGO}Range of input length should be [1, 8192]"),
        (
            body_for(["风" * 128_001], model="qwen3.7-text-embedding"),
            f"{ALGO}Range of input length should be [1, 128000]",
        ),
        (
            body_for(["风" * 2049], model="text-embedding-v1"),
            "Range of input length should be [1, 2048]",
        ),
        (
            body_for(["a"], dimension=100),
            wrong_dimension("[64, 128, 256, 512, 768, 1024, 1536, 2048]"),
        ),
        (
            body_for(["a"], model="text-embedding-v3", dimension=2048),
            wrong_dimension("[64, 128, 256, 512, 768, 1024]"),
        ),
        (
            body_for(["a"], model="text-embedding-v3", dimension="512"),
            wrong_dimension("[64, 128, 256, 512, 768, 1024]"),
        ),
        (body_for(["a"], text_type="passage"), '"text_type" must be one of document, query.'),
        (
            body_for(["a"], output_type="both"),
            '"output_type" must be one of dense, sparse, dense&sparse.',
        ),
        (
            body_for(["a"], model="text-embedding-v1", output_type="sparse"),
            "The model `text-embedding-v1` does not support the output_type sparse: "
            "it makes dense vectors only.",
        ),
        (
            body_for(["a"], model="text-embedding-v2", output_type="dense&sparse"),
            "The model `text-embedding-v2` does not support the output_type dense&sparse: "
            "it makes dense vectors only.",
        ),
        (body_for(["a"], instruct=7), '"instruct" must be a string.'),
        (
            body_for(["a"], model="text-embedding-v3", text_type="query", instruct="Find it"),
            "The model `text-embedding-v3` does not support the parameter instruct.",
        ),
    ],
)
def test_an_invalid_request_is_rejected_with_the_message_of_the_service(body, message):
    assert error_of(body) == (400, "InvalidParameter", message)


def test_an_unknown_model_is_not_found():
    assert error_of(body_for(["a"], model="xxx")) == (
        404,
        "ModelNotFound",
        "The model `xxx` does not exist or you do not have access to it.",
    )


def test_the_message_names_a_changed_cap():
    model = replace(MODELS["text-embedding-v4"], texts_per_request=6)
    assert error_of(body_for(["a"] * 7), {model.name: model})[2] == too_many(6)


def test_a_request_without_parameters_has_the_defaults_of_its_model():
    request = read_request(body_for(["风急天高", "a"]), MODELS)
    assert request.model is MODELS["text-embedding-v4"]
    assert request.texts == ("风急天高", "a")
    assert request.dimension == 1024
    assert request.roles == (DOCUMENT, DOCUMENT)
    assert request.output_type == "dense"
    assert request.tokens == 5


@pytest.mark.parametrize("count", [1, 10])
def test_a_batch_up_to_the_cap_is_accepted(count):
    assert len(read_request(body_for(["a"] * count), MODELS).texts) == count


def test_a_text_of_exactly_the_limit_is_accepted():
    assert read_request(body_for(["风" * 8192]), MODELS).tokens == 8192


@pytest.mark.parametrize("model", ["text-embedding-v1", "text-embedding-v2"])
def test_the_first_generation_ignores_dimension(model):
    assert read_request(body_for(["a"], model=model, dimension=64), MODELS).dimension == 1536


def test_a_supported_dimension_is_accepted():
    assert read_request(body_for(["a"], dimension=64), MODELS).dimension == 64


def test_a_model_without_known_dimensions_accepts_any():
    models = {"new": Model(name="new")}
    assert read_request(body_for(["a"], model="new", dimension=333), models).dimension == 333
    assert read_request(body_for(["a"], model="new"), models).dimension == 1024
    assert error_of(body_for(["a"], model="new", dimension=0), models)[0] == 400


@pytest.mark.parametrize("output_type", ["dense", "sparse", "dense&sparse"])
def test_every_output_type_is_accepted_at_the_same_price(output_type):
    request = read_request(body_for(["风急天高", "a"], output_type=output_type), MODELS)
    assert (request.output_type, request.tokens) == (output_type, 5)


def test_a_model_without_sparse_vectors_accepts_dense_as_the_output_type():
    body = body_for(["a"], model="text-embedding-v2", output_type="dense")
    assert read_request(body, MODELS).output_type == "dense"


def test_an_instruction_applies_to_queries():
    body = body_for(["a"], text_type="query", instruct="Find it")
    assert read_request(body, MODELS).roles == (Role("query", "Find it"),)


def test_an_instruction_does_not_apply_to_documents():
    body = body_for(["a"], text_type="document", instruct="Find it")
    assert read_request(body, MODELS).roles == (DOCUMENT,)


def test_unknown_parameters_are_ignored():
    body = body_for(["a"], dimensions=64, kwargs={"text_type": "query"})
    request = read_request(body, MODELS)
    assert (request.dimension, request.roles) == (1024, (DOCUMENT,))


def test_parameters_that_are_null_count_as_absent():
    body = body_for(["a"], dimension=None, text_type=None, output_type=None, instruct=None)
    assert read_request(body, MODELS) == read_request(body_for(["a"]), MODELS)

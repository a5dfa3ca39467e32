"""The official clients work against the emulator unchanged."""

from importlib import import_module

import numpy as np
import pytest

from qwen_embed.emulator import Emulator

from .calls import KEY


@pytest.fixture(scope="module")
def dashscope():
    """Import the package here, because it takes 2 seconds."""
    return pytest.importorskip("dashscope")


@pytest.fixture(scope="module")
def openai():
    """Import the package here, because it takes 2 seconds."""
    return pytest.importorskip("openai")


@pytest.fixture(params=["OpenAI", "AsyncOpenAI"])
def create(openai, request):
    """Return a function that requests vectors with the sync or the async client."""

    async def create(service, given, *, api_key=KEY, max_retries=0, **fields):
        options = {"api_key": api_key, "base_url": service.openai_url, "max_retries": max_retries}
        request_fields = {"model": "text-embedding-v4", "input": given, **fields}
        if request.param == "OpenAI":
            with openai.OpenAI(**options) as client:
                return client.embeddings.create(**request_fields)
        async with openai.AsyncOpenAI(**options) as client:
            return await client.embeddings.create(**request_fields)

    return create


@pytest.fixture
def call(dashscope, service, monkeypatch):
    """Return the call of version 1.x, with the emulator as its base URL."""
    monkeypatch.setattr(dashscope, "base_http_api_url", service.native_url)

    def call(texts, **parameters):
        parameters = {"model": "text-embedding-v4", "api_key": KEY, **parameters}
        return dashscope.TextEmbedding.call(input=texts, **parameters)

    yield call
    import_module("dashscope.api_entities.http_request").close_shared_sync_session()


def test_the_call_style_of_1x_gets_vectors(call, service):
    response = call(["风急天高", "hello"], dimension=128, text_type="query")
    assert response.status_code == 200
    assert [item["text_index"] for item in response.output["embeddings"]] == [0, 1]
    assert [len(item["embedding"]) for item in response.output["embeddings"]] == [128, 128]
    assert response.usage == {"total_tokens": 6}
    assert service.requests[0].body == {
        "model": "text-embedding-v4",
        "input": {"texts": ["风急天高", "hello"]},
        "parameters": {"dimension": 128, "text_type": "query"},
    }


def test_the_call_style_of_1x_gets_sparse_vectors(call):
    response = call(["风急天高", "QX-7731B"], dimension=64, output_type="dense&sparse")
    assert response.status_code == 200
    first, second = response.output["embeddings"]
    assert len(first["embedding"]) == len(second["embedding"]) == 64
    assert [entry["token"] for entry in second["sparse_embedding"]] == ["qx-7731b", "qx", "7731b"]
    assert [set(entry) for entry in first["sparse_embedding"]] == [{"index", "value", "token"}] * 7


def test_the_call_style_of_1x_accepts_the_address_as_an_argument(dashscope, service):
    response = dashscope.TextEmbedding.call(
        model="text-embedding-v4", input=["a"], api_key=KEY, base_address=service.native_url
    )
    assert response.status_code == 200


def test_the_call_style_of_1x_gets_errors(call):
    response = call(["a"] * 11)
    assert (response.status_code, response.code) == (400, "InvalidParameter")
    assert "larger than 10." in response.message
    assert response.request_id


def test_the_call_style_of_1x_gets_the_error_for_a_wrong_key(call):
    response = call(["a"], api_key="sk-other")
    assert (response.status_code, response.code) == (401, "InvalidApiKey")


def test_the_client_of_2x_gets_vectors(dashscope, service):
    with dashscope.Client(api_key=KEY, base_url=service.native_url) as client:
        response = client.embeddings.create(
            model="text-embedding-v4", input=["风急天高", "hello"], dimension=64
        )
    assert [item.index for item in response.embeddings] == [0, 1]
    vectors = np.array([item.embedding for item in response.embeddings])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert response.usage.total_tokens == 6


def test_the_client_of_2x_raises_errors(dashscope, service):
    errors = import_module("dashscope.v2.errors")
    with dashscope.Client(api_key=KEY, base_url=service.native_url) as client:
        with pytest.raises(errors.NotFoundError, match="does not exist"):
            client.embeddings.create(model="xxx", input=["a"])
        with pytest.raises(errors.AuthenticationError, match="Invalid API-key"):
            client.embeddings.create(model="text-embedding-v4", input=["a"], api_key="sk-other")


def test_the_client_of_2x_retries_a_throttled_request(dashscope, service):
    service.fail_next(status=429, code="Throttling.RateQuota", message="Slow down.")
    with dashscope.Client(api_key=KEY, base_url=service.native_url, max_retries=1) as client:
        client.embeddings.create(model="text-embedding-v4", input=["a"])
    assert [request.status for request in service.requests] == [429, 200]


async def test_the_asynchronous_client_of_2x_gets_vectors(dashscope, service):
    async with dashscope.AsyncClient(api_key=KEY, base_url=service.native_url) as client:
        response = await client.embeddings.create(model="text-embedding-v3", input="hello")
    assert [len(item.embedding) for item in response.embeddings] == [1024]


async def test_the_asynchronous_client_of_2x_raises_errors(dashscope, service):
    errors = import_module("dashscope.v2.errors")
    async with dashscope.AsyncClient(api_key=KEY, base_url=service.native_url) as client:
        with pytest.raises(errors.BadRequestError, match="Range of input length"):
            await client.embeddings.create(model="text-embedding-v3", input=[" "])


async def test_openai_gets_vectors(create, service):
    response = await create(service, ["风急天高", "hello"], dimensions=128)
    assert [item.index for item in response.data] == [0, 1]
    vectors = np.array([item.embedding for item in response.data])
    assert vectors.shape == (2, 128)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert (response.usage.prompt_tokens, response.usage.total_tokens) == (6, 6)
    assert response.model == "text-embedding-v4"
    assert service.requests[0].body == {
        "model": "text-embedding-v4",
        "input": ["风急天高", "hello"],
        "dimensions": 128,
        "encoding_format": "base64",
    }


@pytest.mark.parametrize("as_floats", [False, True])
async def test_openai_gets_the_same_vector_in_every_encoding(create, service, as_floats):
    floats = await create(service, "hello", encoding_format="float")
    service.base64_as_floats = as_floats
    default = await create(service, "hello")
    assert default.data[0].embedding == floats.data[0].embedding


async def test_openai_can_send_native_parameters(create, service):
    plain = await create(service, "hello")
    extra = await create(service, "hello", extra_body={"text_type": "query", "instruct": "Find it"})
    assert service.requests[1].body["text_type"] == "query"
    assert extra.data[0].embedding == plain.data[0].embedding


@pytest.mark.parametrize(
    ("fields", "error", "code"),
    [
        ({"model": "xxx"}, "NotFoundError", "model_not_found"),
        ({"api_key": "sk-other"}, "AuthenticationError", "invalid_api_key"),
        ({"dimensions": 100}, "BadRequestError", "InvalidParameter"),
        ({"encoding_format": "int8"}, "BadRequestError", None),
    ],
)
async def test_openai_raises_the_error_responses(openai, create, service, fields, error, code):
    with pytest.raises(getattr(openai, error)) as caught:
        await create(service, "hello", **fields)
    assert caught.value.code == code
    assert caught.value.body["message"] in str(caught.value)


@pytest.mark.parametrize("given", [[1820, 9987], [[1820, 9987]]])
async def test_openai_gets_an_error_for_token_ids(openai, create, service, given):
    with pytest.raises(openai.BadRequestError, match="neither str nor list of str"):
        await create(service, given)


async def test_openai_retries_a_throttled_request(create, service):
    service.fail_next(status=429, code="limit_requests", headers={"Retry-After-Ms": "1"})
    await create(service, "hello", max_retries=1)
    assert [request.status for request in service.requests] == [429, 200]


async def test_openai_raises_a_rate_limit(openai, create, service):
    service.set_quota(requests_per_minute=60)
    await create(service, "hello")
    with pytest.raises(openai.RateLimitError) as caught:
        await create(service, "hello")
    assert (caught.value.code, caught.value.type) == ("limit_requests", "limit_requests")


QWEN3 = {"model": "Qwen/Qwen3-Embedding-0.6B"}


@pytest.mark.parametrize("backend", ["vllm", "tei", "lm-studio"])
async def test_openai_gets_vectors_of_self_hosted_servers(create, backend):
    with Emulator(backend=backend) as server:
        response = await create(server, ["风急天高", "hello"], **QWEN3)
    assert [len(item.embedding) for item in response.data] == [1024, 1024]
    assert response.usage.total_tokens == 6


@pytest.mark.parametrize(
    ("backend", "length"), [("vllm-matryoshka", 256), ("tei", 256), ("lm-studio", 1024)]
)
async def test_openai_gets_vectors_of_the_dimension_of_the_server(create, backend, length):
    with Emulator(backend=backend) as server:
        response = await create(server, "hello", dimensions=256, **QWEN3)
    assert len(response.data[0].embedding) == length


@pytest.mark.parametrize("backend", ["vllm", "vllm-0.10.0"])
async def test_openai_raises_the_error_for_dimensions(openai, create, backend):
    with (
        Emulator(backend=backend) as server,
        pytest.raises(openai.BadRequestError, match="does not support matryoshka representation"),
    ):
        await create(server, "hello", dimensions=256, **QWEN3)


async def test_openai_raises_the_error_for_too_many_texts(openai, create):
    with (
        Emulator(backend="tei") as server,
        pytest.raises(openai.UnprocessableEntityError) as caught,
    ):
        await create(server, ["a"] * 33, **QWEN3)
    assert "batch size 33 > maximum allowed batch size 32" in str(caught.value)

"""The official SDK, unchanged, is the judge of whether the emulator speaks the protocol."""

from importlib import import_module

import numpy as np
import pytest

from .calls import KEY


@pytest.fixture(scope="module")
def dashscope():
    """Imported late: it takes 2 seconds."""
    return pytest.importorskip("dashscope")


@pytest.fixture
def call(dashscope, service, monkeypatch):
    """The 1.x call style, pointed at the emulator."""
    monkeypatch.setattr(dashscope, "base_http_api_url", service.native_url)

    def call(texts, **parameters):
        parameters = {"model": "text-embedding-v4", "api_key": KEY, **parameters}
        return dashscope.TextEmbedding.call(input=texts, **parameters)

    yield call
    import_module("dashscope.api_entities.http_request").close_shared_sync_session()


def test_the_call_style_of_1x_gets_vectors(call, service):
    response = call(["风急天高", "hello"], dimension=128, text_type="query")
    assert response.status_code == 200
    assert [row["text_index"] for row in response.output["embeddings"]] == [0, 1]
    assert [len(row["embedding"]) for row in response.output["embeddings"]] == [128, 128]
    assert response.usage == {"total_tokens": 6}
    assert service.requests[0].body == {
        "model": "text-embedding-v4",
        "input": {"texts": ["风急天高", "hello"]},
        "parameters": {"dimension": 128, "text_type": "query"},
    }


def test_the_call_style_of_1x_gets_sparse_rows(call):
    response = call(["风急天高", "QX-7731B"], dimension=64, output_type="dense&sparse")
    assert response.status_code == 200
    first, second = response.output["embeddings"]
    assert len(first["embedding"]) == len(second["embedding"]) == 64
    assert [entry["token"] for entry in second["sparse_embedding"]] == ["qx-7731b", "qx", "7731b"]
    assert [set(entry) for entry in first["sparse_embedding"]] == [{"index", "value", "token"}] * 7


def test_the_call_style_of_1x_may_be_given_the_address(dashscope, service):
    response = dashscope.TextEmbedding.call(
        model="text-embedding-v4", input=["a"], api_key=KEY, base_address=service.native_url
    )
    assert response.status_code == 200


def test_the_call_style_of_1x_gets_errors(call):
    response = call(["a"] * 11)
    assert (response.status_code, response.code) == (400, "InvalidParameter")
    assert "larger than 10." in response.message
    assert response.request_id


def test_the_call_style_of_1x_gets_the_refusal_of_its_key(call):
    response = call(["a"], api_key="sk-other")
    assert (response.status_code, response.code) == (401, "InvalidApiKey")


def test_the_client_of_2x_gets_vectors(dashscope, service):
    with dashscope.Client(api_key=KEY, base_url=service.native_url) as client:
        response = client.embeddings.create(
            model="text-embedding-v4", input=["风急天高", "hello"], dimension=64
        )
    assert [row.index for row in response.embeddings] == [0, 1]
    vectors = np.array([row.embedding for row in response.embeddings])
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
    assert [len(row.embedding) for row in response.embeddings] == [1024]


async def test_the_asynchronous_client_of_2x_raises_errors(dashscope, service):
    errors = import_module("dashscope.v2.errors")
    async with dashscope.AsyncClient(api_key=KEY, base_url=service.native_url) as client:
        with pytest.raises(errors.BadRequestError, match="Range of input length"):
            await client.embeddings.create(model="text-embedding-v3", input=[" "])

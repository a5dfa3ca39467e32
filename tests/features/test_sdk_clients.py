"""The user's own SDK client sends the requests; everything else stays the same."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import pickle
import re

import dashscope
import openai
import pytest
from pydantic import ValidationError

from langchain_qwen_embed import QwenEmbeddings
from llamaindex_qwen_embed import QwenEmbedding
from qwen_embed import QwenEmbedder
from qwen_embed.errors import AuthenticationError, ConnectionFailedError, RequestTimeoutError
from tests.support.interfaces import API_KEY

NATIVE = [dashscope.Client, dashscope.AsyncClient]
COMPATIBLE = [openai.OpenAI, openai.AsyncOpenAI]


@pytest.fixture(
    params=[*NATIVE, *COMPATIBLE], ids=lambda kind: f"{kind.__module__[:6]}-{kind.__name__}"
)
def kind(request):
    return request.param


@pytest.fixture
def connect(kind, service):
    """Make clients that would retry on their own; they are closed at the end."""
    made = []

    def connect(**more):
        root = service.native_url if kind in NATIVE else service.openai_url
        client = kind(**{"api_key": API_KEY, "base_url": root, "max_retries": 5, **more})
        made.append(client)
        return client

    yield connect
    for client in made:
        if not kind.__name__.startswith("Async"):  # those are closed with the embedder
            client.close()


@pytest.fixture
def client(connect):
    return connect()


def options(client, **more):
    # An explicit template, because the protocol has no roles and would warn.
    template = {} if isinstance(client, tuple(NATIVE)) else {"query_template": "{query}"}
    return {"client": client, "dimension": 64, **template, **more}


def test_the_client_sends_the_texts_and_vectors_come_back_in_order(client, kind, service):
    texts = [f"text {n}" for n in range(25)]
    with QwenEmbedder(**options(client)) as embedder:
        rows = embedder.embed_documents(texts).dense
        again = asyncio.run(embedder.aembed_documents(texts)).dense

    assert (rows == again).all()
    assert {request.api_key for request in service.requests} == {API_KEY}
    assert {request.headers["User-Agent"].split("/")[0] for request in service.requests} == {
        "dashscope-v2-python" if kind in NATIVE else f"{kind.__name__}"
    }
    with QwenEmbedder(
        api_key=API_KEY,
        base_url=embedder.base_url,
        dimension=64,
        query_template=embedder.query_template,
    ) as own:
        assert (own.embed_documents(texts).dense == rows).all()
    ours, theirs = service.requests[-1].body, service.requests[0].body
    assert ours.keys() == theirs.keys()


@pytest.mark.parametrize("make", [QwenEmbeddings, QwenEmbedding])
def test_the_adapters_accept_a_client_too(client, make, service):
    embeddings = make(**options(client))
    embed = getattr(embeddings, "embed_query", None) or embeddings.get_query_embedding

    assert len(embed("a")) == 64
    embeddings.close()
    assert len(service.requests) == 1


def test_only_this_package_retries(client, service, instant_retries):
    service.fail_next(2, status=500)

    with QwenEmbedder(**options(client, max_retries=1)) as embedder:
        with pytest.raises(Exception, match="500"):
            embedder.embed_documents(["a"])
        assert (embedder.usage.requests, len(service.requests)) == (2, 2)
        assert embedder.embed_documents(["a"]).usage.retries == 0


def test_a_rejection_is_a_typed_error_without_the_key(connect, service):
    wrong = "sk-wrong-0123456789"
    body = f'{{"error": {{"message": "Incorrect API key: {wrong}", "code": "invalid_api_key"}}}}'
    service.fail_next(1, status=401, body=body.encode())
    client = connect(api_key=wrong)

    with QwenEmbedder(**options(client)) as embedder, pytest.raises(AuthenticationError) as caught:
        embedder.embed_query("a")

    assert wrong not in str(caught.value) + repr(embedder)


def test_a_dropped_connection_is_retried_by_this_package(client, service, instant_retries):
    service.drop_next(1)

    with QwenEmbedder(**options(client)) as embedder:
        assert embedder.embed_documents(["a"]).usage.retries == 1


def test_a_service_that_has_stopped_is_a_connection_error(connect):
    client = connect(base_url="http://127.0.0.1:9/api/v1")

    with (
        QwenEmbedder(**options(client, max_retries=0)) as embedder,
        pytest.raises(ConnectionFailedError, match="Connect"),
    ):
        embedder.embed_query("a")


def test_a_request_that_hangs_times_out(client, service):
    service.latency = 1.0

    with (
        QwenEmbedder(**options(client, timeout=0.2, max_retries=0)) as embedder,
        pytest.raises(RequestTimeoutError, match=r"within 0\.2 seconds"),
    ):
        embedder.embed_query("a")
    service.latency = 0.0


def test_an_async_client_stays_open_until_its_last_object_is_closed(client, kind):
    first, second = QwenEmbedder(**options(client)), QwenEmbedder(**options(client))
    first.embed_query("a")
    second.embed_query("a")
    first.close()

    assert second.embed_query("b").dense.shape == (1, 64)
    second.close()
    with QwenEmbedder(**options(client, max_retries=0)) as third:
        if kind.__name__.startswith("Async"):
            with pytest.raises(Exception, match="closed"):
                third.embed_query("c")
        else:
            assert third.embed_query("c").dense.shape == (1, 64)


def test_hooks_of_the_client_see_the_callers_context(kind, connect, service):
    seen = []
    name = contextvars.ContextVar("name", default="nobody")
    asynchronous = kind.__name__.startswith("Async")

    def note(request):
        seen.append((name.get(), request.method))

    async def anote(request):
        note(request)

    root = service.native_url if kind in NATIVE else service.openai_url
    http = _http_client(kind, root, anote if asynchronous else note)
    client = connect(http_client=http)
    name.set("caller")

    with QwenEmbedder(**options(client)) as embedder:
        embedder.embed_query("a")

    assert seen == [("caller", "POST")]
    if not asynchronous:
        http.close()


def _http_client(kind, root, hook):
    if kind in NATIVE:
        import httpx  # noqa: PLC0415 -- each SDK has its own

        make = httpx.AsyncClient if kind.__name__.startswith("Async") else httpx.Client
        return make(
            base_url=root,
            headers={"Authorization": f"Bearer {API_KEY}"},
            event_hooks={"request": [hook]},
        )
    make = (
        openai.DefaultAsyncHttpxClient
        if kind.__name__.startswith("Async")
        else openai.DefaultHttpxClient
    )
    return make(event_hooks={"request": [hook]})


@pytest.mark.parametrize(
    "own",
    [
        {"api_key": "sk-1"},
        {"base_url": "https://a/api/v1"},
        {"region": "intl"},
        {"workspace": "ws"},
        {"connect_timeout": 5.0},
        {"gzip": True},
    ],
)
def test_options_that_the_client_has_are_rejected(client, own):
    [name] = own

    with pytest.raises(ValidationError, match=f"{name}: the client has its own"):
        QwenEmbedder(**options(client, **own))


def test_a_protocol_that_the_client_does_not_speak_is_rejected(client, kind):
    other = "openai" if kind in NATIVE else "native"

    with pytest.raises(ValidationError, match="the client uses"):
        QwenEmbedder(**options(client, protocol=other))


@pytest.mark.parametrize("thing", [object(), "client", dashscope.TextEmbedding])
def test_an_unknown_client_is_rejected_with_the_list_of_valid_ones(thing):
    with pytest.raises(ValidationError, match=r"dashscope\.Client, .*openai\.AsyncOpenAI"):
        QwenEmbedder(client=thing)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_shares_the_client(client, copied):
    made = QwenEmbedder(**options(client))

    assert copied(made).client is client
    assert made.model_copy(update={"dimension": 128}).client is client


@pytest.mark.parametrize("make", [QwenEmbedder, QwenEmbeddings, QwenEmbedding])
def test_a_pickle_raises_an_error_that_says_what_to_do(client, make):
    made = make(**options(client))

    with pytest.raises(TypeError, match="pass api_key and base_url instead"):
        pickle.dumps(made)
    assert made.client is client


def test_a_sparse_object_shares_the_clients_requests(service):
    client = dashscope.Client(api_key=API_KEY, base_url=service.native_url)
    dense = QwenEmbeddings(client=client, dimension=64)
    sparse = dense.sparse()

    dense.embed_documents(["The wind rises."])
    assert sparse.embed_documents(["The wind rises."])
    dense.close()
    client.close()

    assert len(service.requests) == 1


def test_the_key_of_the_client_is_not_shown(client):
    made = QwenEmbedder(**options(client))

    shown = f"{made!r} {made} {made.model_dump()} {made.model_dump_json()} {made.cache_namespace}"
    assert not re.search(API_KEY, shown)

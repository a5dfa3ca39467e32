"""The key is nowhere but in its header and in a pickle."""

from __future__ import annotations

import logging
import re
import sys
import traceback
import warnings

import pytest
from langchain_core.load import dumps
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.schema import TextNode
from pydantic import ValidationError

from langchain_qwen_embed import QwenEmbeddings, QwenSparseEmbeddings
from llamaindex_qwen_embed import QwenEmbedding, QwenSparseEmbedding
from qwen_embed import (
    AuthenticationError,
    InsecureHttpWarning,
    QwenEmbedder,
)
from qwen_embed.config import user_warnings
from qwen_embed.pipeline import retry
from qwen_embed.runtime import event_loop
from tests.support.faces import API_KEY
from tests.support.network import serving

CLASSES = {
    QwenEmbedder: lambda core: core.embed_query("a"),
    QwenEmbeddings: lambda embeddings: embeddings.embed_query("a"),
    QwenSparseEmbeddings: lambda sparse: sparse.embed_query("a"),
    QwenEmbedding: lambda embedding: embedding.get_query_embedding("a"),
    QwenSparseEmbedding: lambda sparse: sparse.get_query_embedding("a"),
}
METHODS = ["model_dump", "model_dump_json", "to_dict", "to_json", "to_payload"]
OUTLETS = {
    "repr": repr,
    "str": str,
    "vars": vars,
    "within vars": lambda it: reachable(vars(it)),
    "dict": dict,
    "cache_namespace": lambda it: it.cache_namespace,
    "usage": lambda it: (it.usage, it.limits),
    "JSON mode": lambda it: it.model_dump(mode="json"),
    "LangChain's dumps": dumps,
    **{method: lambda it, method=method: getattr(it, method)() for method in METHODS},
}


def reachable(value, seen=None):
    """Return all text that can be reached by `vars` and by looking into containers."""
    seen = {} if seen is None else seen
    if id(value) in seen or value is None:
        return []
    seen[id(value)] = value
    if isinstance(value, (str, bytes)):
        return [value]
    inside = []
    if isinstance(value, dict):
        inside = [*value.keys(), *value.values()]
    elif isinstance(value, (list, tuple, set, frozenset)):
        inside = list(value)
    elif hasattr(value, "get_secret_value"):
        return [repr(value)]
    elif hasattr(value, "__dict__") and not isinstance(value, type):
        inside = list(vars(value).values())
    return [text for each in inside for text in reachable(each, seen)]


@pytest.mark.parametrize(
    ("kind", "outlet"),
    [
        pytest.param(kind, show, id=f"{kind.__name__}-{name}")
        for kind in CLASSES
        for name, show in OUTLETS.items()
        if name not in METHODS or hasattr(kind, name)
    ],
)
def test_the_key_is_in_no_representation(kind, outlet, service):
    with kind(api_key=API_KEY, base_url=service.native_url) as embeddings:
        CLASSES[kind](embeddings)

        assert API_KEY not in str(outlet(embeddings))


def test_two_keys_make_one_hash_of_a_transformation():
    one, other = QwenEmbedding(api_key=API_KEY), QwenEmbedding(api_key="sk-another")

    hashes = {get_transformation_hash([TextNode(text="a", id_="1")], it) for it in (one, other)}

    assert len(hashes) == 1


@pytest.fixture
def everything_is_logged(caplog, monkeypatch):
    """All loggers at DEBUG, and asyncio in debug mode, which tells of every callback."""
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    loop = event_loop.current()._loop
    before = loop.get_debug(), loop.slow_callback_duration
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0
    with caplog.at_level(logging.DEBUG):
        yield caplog
    loop.set_debug(before[0])
    loop.slow_callback_duration = before[1]


def test_the_key_is_in_no_log_and_no_warning(
    face, service, everything_is_logged, recwarn, monkeypatch
):
    monkeypatch.setattr(retry, "_FIRST_WAIT", 0.01)
    warnings.simplefilter("always")
    embeddings = face(service, max_retries=1)
    face.documents(embeddings, ["a", "b"])
    service.drop_next(1)
    face.query(embeddings, "b")
    service.fail_next(1, status=401, code="InvalidApiKey", message=f"Incorrect key {API_KEY}")
    with pytest.raises(AuthenticationError):
        face.query(embeddings, "c")
    embeddings.close()

    assert "Executing" in everything_is_logged.text  # asyncio's debug mode is on
    assert API_KEY not in everything_is_logged.text
    assert [each for each in recwarn if API_KEY in str(each.message)] == []


def refuses(**failure):
    return lambda service: service.fail_next(9, **{"message": "no", **failure})


FAILURES = {
    "400": refuses(status=400, code="InvalidParameter"),
    "401": refuses(status=401, code="InvalidApiKey"),
    "403": refuses(status=403, code="AccessDenied"),
    "429": refuses(status=429, code="Throttling"),
    "500": refuses(status=500),
    "307": refuses(status=307, headers={"Location": "/elsewhere"}),
    "a refusal that repeats the key": refuses(status=401, message=f"Incorrect key: {API_KEY}"),
    "a refusal with status 200": refuses(status=200, message=f"Incorrect key: {API_KEY}"),
    "a page that repeats the key": refuses(status=502, body=b"<p>Bearer %s" % API_KEY.encode()),
    "not JSON": refuses(status=200, body=b"<html>"),
    "lost": lambda service: service.drop_next(9),
    "cut short": lambda service: service.drop_next(9, when="body"),
    "late": lambda service: setattr(service, "latency", 5.0),
    "not there": lambda service: service.stop(),
}


def texts_of(error):
    """Yield all that an error and those behind it show, frames with their variables included."""
    while error is not None:
        yield from (str(error), repr(error), *reachable(vars(error)))
        yield from traceback.format_exception(error)
        yield from traceback.TracebackException.from_exception(error, capture_locals=True).format()
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_the_key_is_in_no_error(face, service, failure):
    embeddings = face(service, max_retries=0, timeout=0.1 if failure is FAILURES["late"] else 60)
    failure(service)

    with pytest.raises(Exception, match=r".") as caught:
        face.documents(embeddings, ["a", "b"])

    assert [text for text in texts_of(caught.value) if API_KEY in text] == []


def test_the_key_is_in_no_error_about_an_answer_that_is_no_http(face):
    async def echo(reader, writer):
        writer.write(await reader.readuntil(b"\r\n\r\n"))
        await writer.drain()
        await reader.read()

    with serving(echo) as port:
        embeddings = face.make(api_key=API_KEY, base_url=f"http://127.0.0.1:{port}", max_retries=0)
        with pytest.raises(Exception, match=r".") as caught:
            face.documents(embeddings, ["a", "b"])

    assert [text for text in texts_of(caught.value) if API_KEY in text] == []


class Odd:
    """A key of a type of the user's own, which shows it."""

    def __repr__(self):
        return API_KEY


NO_KEYS = {
    "bytes": API_KEY.encode(),
    "a list": [API_KEY],
    "a dict": {"key": API_KEY},
    "an object": Odd(),
    "a class": type(API_KEY, (), {}),
    "with a space": f"{API_KEY} {API_KEY}",
    "with a newline": f"{API_KEY}\n{API_KEY}",
}


def refusal_of(make, **options):
    with pytest.raises(ValidationError) as caught:
        make(**options)
    error = caught.value
    shown = [str(error), repr(error), str(error.errors()), error.json()]
    return error, shown + traceback.format_exception(error)


@pytest.mark.parametrize("name", ["api_key", "dashscope_api_key"])
@pytest.mark.parametrize("key", NO_KEYS.values(), ids=NO_KEYS)
def test_what_cannot_be_a_key_is_not_shown(face, name, key):
    error, shown = refusal_of(face.make, **{name: key})

    assert [text for text in shown if API_KEY in text] == []
    assert API_KEY not in frames_of_ours(error)


def test_a_number_for_a_key_is_not_shown(face):
    _, shown = refusal_of(face.make, api_key=31415926535897)

    assert [text for text in shown if "31415926535897" in text] == []


@pytest.mark.parametrize(
    "options", [{"region": "mars"}, {"dimension": 3}, {"dimension": "many"}, {"max_retries": -1}]
)
def test_an_option_that_is_refused_does_not_show_the_key(face, options):
    error, shown = refusal_of(face.make, api_key=API_KEY, **options)

    assert [text for text in shown if API_KEY in text] == []
    assert API_KEY not in frames_of_ours(error)


def test_a_key_under_a_name_that_does_not_exist_is_not_shown(face):
    _, shown = refusal_of(face.make, api_key="sk-another", apikey=API_KEY)

    assert "apikey" in shown[0]
    assert [text for text in shown if API_KEY in text] == []


def test_a_key_from_the_environment_is_not_shown_by_a_refusal(face, monkeypatch):
    monkeypatch.setenv("DASHSCOPE_API_KEY", API_KEY)

    error, shown = refusal_of(face.make, region="mars")

    assert [text for text in (*shown, frames_of_ours(error)) if API_KEY in text] == []


def test_a_validated_dict_does_not_show_the_key(face):
    _, shown = refusal_of(
        lambda **options: face.make.model_validate(options), api_key=API_KEY, dimension=3
    )

    assert [text for text in shown if API_KEY in text] == []


def test_a_copy_that_is_refused_does_not_show_the_key(face):
    made = face.make(api_key="sk-another")

    error, shown = refusal_of(made.model_copy, update={"api_key": API_KEY, "dimension": 3})

    assert [text for text in (*shown, frames_of_ours(error)) if API_KEY in text] == []


def test_a_key_that_is_assigned_is_not_shown(face):
    made = face.make(api_key="sk-another")

    with pytest.raises(TypeError) as caught:
        made.api_key = API_KEY

    assert API_KEY not in frames_of_ours(caught.value)


def frames_of_ours(error):
    """Return the traceback with the variables of all frames but those of tests, which hold it."""
    captured = traceback.TracebackException.from_exception(error, capture_locals=True)
    return str([frame.locals for frame in captured.stack if "/tests/" not in frame.filename])


@pytest.fixture
def no_host_was_warned_of(monkeypatch):
    monkeypatch.setattr(user_warnings, "_warned_hosts", set())


@pytest.mark.usefixtures("no_host_was_warned_of")
class TestPlainHttp:
    def test_another_machine_is_warned_of_at_the_users_line(self, face):
        line = sys._getframe().f_lineno + 2
        with pytest.warns(InsecureHttpWarning, match=r"gateway\.test unencrypted") as caught:
            face.make(api_key=API_KEY, base_url="http://gateway.test:8080")

        assert [(each.filename, each.lineno) for each in caught] == [(__file__, line)]
        assert API_KEY not in str(caught[0].message)

    def test_a_copy_is_warned_of_at_the_users_line(self, face):
        made = face.make(api_key=API_KEY)

        with pytest.warns(InsecureHttpWarning) as caught:
            made.model_copy(update={"base_url": "http://gateway.test"})

        assert [each.filename for each in caught] == [__file__]

    def test_each_host_is_warned_of_once(self, face):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for host in ("one.test", "other.test", "one.test"):
                face.make(api_key=API_KEY, base_url=f"http://{host}")
            face.make(api_key=API_KEY, base_url="http://other.test/another/path")

        hosts = [re.search(r"\w+\.test", str(each.message))[0] for each in caught]
        assert hosts == ["one.test", "other.test"]

    @pytest.mark.parametrize(
        "root",
        [
            "http://127.0.0.1:8765",
            "http://127.8.9.10",
            "http://[::1]:8765",
            "http://localhost:8765",
            "https://gateway.test",
        ],
    )
    def test_this_machine_and_encryption_are_not_warned_of(self, face, root):
        with warnings.catch_warnings():
            warnings.simplefilter("error")

            face.make(api_key=API_KEY, base_url=root)

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
from tests.support.interfaces import API_KEY
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
    """Return all text reachable through `vars` and containers."""
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


def test_the_key_does_not_change_the_hash_of_a_transformation():
    one, other = QwenEmbedding(api_key=API_KEY), QwenEmbedding(api_key="sk-another")

    hashes = {get_transformation_hash([TextNode(text="a", id_="1")], it) for it in (one, other)}

    assert len(hashes) == 1


@pytest.fixture
def everything_is_logged(caplog, monkeypatch):
    """All loggers at DEBUG, and asyncio in debug mode, which logs every callback."""
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
    interface, service, everything_is_logged, recwarn, monkeypatch
):
    monkeypatch.setattr(retry, "_FIRST_WAIT", 0.01)
    warnings.simplefilter("always")
    embeddings = interface(service, max_retries=1)
    interface.documents(embeddings, ["a", "b"])
    service.drop_next(1)
    interface.query(embeddings, "b")
    service.fail_next(1, status=401, code="InvalidApiKey", message=f"Incorrect key {API_KEY}")
    with pytest.raises(AuthenticationError):
        interface.query(embeddings, "c")
    embeddings.close()

    assert "Executing" in everything_is_logged.text  # asyncio's debug mode is on
    assert API_KEY not in everything_is_logged.text
    assert [each for each in recwarn if API_KEY in str(each.message)] == []


def rejects(**failure):
    return lambda service: service.fail_next(9, **{"message": "no", **failure})


FAILURES = {
    "400": rejects(status=400, code="InvalidParameter"),
    "401": rejects(status=401, code="InvalidApiKey"),
    "403": rejects(status=403, code="AccessDenied"),
    "429": rejects(status=429, code="Throttling"),
    "500": rejects(status=500),
    "307": rejects(status=307, headers={"Location": "/elsewhere"}),
    "a rejection that echoes the key": rejects(status=401, message=f"Incorrect key: {API_KEY}"),
    "an error with status 200": rejects(status=200, message=f"Incorrect key: {API_KEY}"),
    "a page that echoes the key": rejects(status=502, body=b"<p>Bearer %s" % API_KEY.encode()),
    "not JSON": rejects(status=200, body=b"<html>"),
    "lost": lambda service: service.drop_next(9),
    "cut short": lambda service: service.drop_next(9, when="body"),
    "late": lambda service: setattr(service, "latency", 5.0),
    "not there": lambda service: service.stop(),
}


def texts_of(error):
    """Yield all text of an error and its causes, with the variables of their frames."""
    while error is not None:
        yield from (str(error), repr(error), *reachable(vars(error)))
        yield from traceback.format_exception(error)
        yield from traceback.TracebackException.from_exception(error, capture_locals=True).format()
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_the_key_is_in_no_error(interface, service, failure):
    embeddings = interface(
        service, max_retries=0, timeout=0.1 if failure is FAILURES["late"] else 60
    )
    failure(service)

    with pytest.raises(Exception, match=r".") as caught:
        interface.documents(embeddings, ["a", "b"])

    assert [text for text in texts_of(caught.value) if API_KEY in text] == []


def test_the_key_is_in_no_error_about_a_response_that_is_not_http(interface):
    async def echo(reader, writer):
        writer.write(await reader.readuntil(b"\r\n\r\n"))
        await writer.drain()
        await reader.read()

    with serving(echo) as port:
        embeddings = interface.make(
            api_key=API_KEY, base_url=f"http://127.0.0.1:{port}", max_retries=0
        )
        with pytest.raises(Exception, match=r".") as caught:
            interface.documents(embeddings, ["a", "b"])

    assert [text for text in texts_of(caught.value) if API_KEY in text] == []


class Odd:
    """A key of a user-defined type, whose representation shows it."""

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


def error_of(make, **options):
    with pytest.raises(ValidationError) as caught:
        make(**options)
    error = caught.value
    shown = [str(error), repr(error), str(error.errors()), error.json()]
    return error, shown + traceback.format_exception(error)


@pytest.mark.parametrize("name", ["api_key", "dashscope_api_key"])
@pytest.mark.parametrize("key", NO_KEYS.values(), ids=NO_KEYS)
def test_an_invalid_key_is_not_shown(interface, name, key):
    error, shown = error_of(interface.make, **{name: key})

    assert [text for text in shown if API_KEY in text] == []
    assert API_KEY not in frames_of_ours(error)


def test_a_number_as_key_is_not_shown(interface):
    _, shown = error_of(interface.make, api_key=31415926535897)

    assert [text for text in shown if "31415926535897" in text] == []


@pytest.mark.parametrize(
    "options", [{"region": "mars"}, {"dimension": 3}, {"dimension": "many"}, {"max_retries": -1}]
)
def test_an_invalid_option_does_not_show_the_key(interface, options):
    error, shown = error_of(interface.make, api_key=API_KEY, **options)

    assert [text for text in shown if API_KEY in text] == []
    assert API_KEY not in frames_of_ours(error)


def test_a_key_under_an_unknown_name_is_not_shown(interface):
    _, shown = error_of(interface.make, api_key="sk-another", apikey=API_KEY)

    assert "apikey" in shown[0]
    assert [text for text in shown if API_KEY in text] == []


def test_a_key_from_the_environment_is_not_shown_by_an_error(interface, monkeypatch):
    monkeypatch.setenv("DASHSCOPE_API_KEY", API_KEY)

    error, shown = error_of(interface.make, region="mars")

    assert [text for text in (*shown, frames_of_ours(error)) if API_KEY in text] == []


def test_a_validated_dict_does_not_show_the_key(interface):
    _, shown = error_of(
        lambda **options: interface.make.model_validate(options), api_key=API_KEY, dimension=3
    )

    assert [text for text in shown if API_KEY in text] == []


def test_an_invalid_copy_does_not_show_the_key(interface):
    made = interface.make(api_key="sk-another")

    error, shown = error_of(made.model_copy, update={"api_key": API_KEY, "dimension": 3})

    assert [text for text in (*shown, frames_of_ours(error)) if API_KEY in text] == []


def test_a_key_that_is_assigned_is_not_shown(interface):
    made = interface.make(api_key="sk-another")

    with pytest.raises(TypeError) as caught:
        made.api_key = API_KEY

    assert API_KEY not in frames_of_ours(caught.value)


def frames_of_ours(error):
    """Return the traceback with the variables of all frames except those of tests."""
    captured = traceback.TracebackException.from_exception(error, capture_locals=True)
    return str([frame.locals for frame in captured.stack if "/tests/" not in frame.filename])


@pytest.fixture
def no_host_was_warned_of(monkeypatch):
    monkeypatch.setattr(user_warnings, "_warned_hosts", set())


@pytest.mark.usefixtures("no_host_was_warned_of")
class TestPlainHttp:
    def test_plain_http_to_another_machine_warns_at_the_users_line(self, interface):
        line = sys._getframe().f_lineno + 2
        with pytest.warns(InsecureHttpWarning, match=r"gateway\.test unencrypted") as caught:
            interface.make(api_key=API_KEY, base_url="http://gateway.test:8080")

        assert [(each.filename, each.lineno) for each in caught] == [(__file__, line)]
        assert API_KEY not in str(caught[0].message)

    def test_a_copy_warns_at_the_users_line(self, interface):
        made = interface.make(api_key=API_KEY)

        with pytest.warns(InsecureHttpWarning) as caught:
            made.model_copy(update={"base_url": "http://gateway.test"})

        assert [each.filename for each in caught] == [__file__]

    def test_each_host_is_named_in_one_warning(self, interface):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for host in ("one.test", "other.test", "one.test"):
                interface.make(api_key=API_KEY, base_url=f"http://{host}")
            interface.make(api_key=API_KEY, base_url="http://other.test/another/path")

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
    def test_loopback_and_https_cause_no_warning(self, interface, root):
        with warnings.catch_warnings():
            warnings.simplefilter("error")

            interface.make(api_key=API_KEY, base_url=root)

"""The log lines of the logger `qwen_embed`, and silence without a logging setup."""

from __future__ import annotations

import logging
import re

import pytest

from qwen_embed import AuthenticationError, PartialFailureError, QwenEmbedder
from qwen_embed.rate_limit.limiter import Limits
from qwen_embed.telemetry.events import CallRecord, observe
from qwen_embed.telemetry.logs import Log
from qwen_embed.usage import Usage
from tests.support.interfaces import API_KEY, one_interface_per_package

LOGGER = logging.getLogger("qwen_embed")


SECONDS = re.compile(r"\d+\.\d+ s")
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture
def lines(caplog):
    """Return the lines at a level, without their seconds and random ids."""

    def at(level):
        told = [
            each for each in caplog.records if (each.name, each.levelno) == (LOGGER.name, level)
        ]
        return [ID.sub("ID", SECONDS.sub("T s", each.getMessage())) for each in told]

    return at


def test_a_call_is_a_line_at_info(interface, service, caplog, lines):
    caplog.set_level(logging.INFO, "qwen_embed")
    made = interface(service)

    interface.documents(made, [f"text {n}" for n in range(25)])

    tokens = made.usage.tokens
    assert lines(logging.INFO) == [
        f"text-embedding-v4, document: 25 texts in 3 requests (0 retries), {tokens} tokens, T s"
    ]
    assert lines(logging.DEBUG) == []


def test_a_request_is_a_line_at_debug(service, caplog, lines, instant_retries):
    caplog.set_level(logging.DEBUG, "qwen_embed")
    made = QwenEmbedder(api_key=API_KEY, base_url=service.native_url, dimension=64)
    service.fail_next(1, status=503, code="ServiceUnavailable")

    made.embed_query("wind")

    size = len(
        b'{"model":"text-embedding-v4","input":{"texts":["wind"]},'
        b'"parameters":{"text_type":"query","dimension":64}}'
    )
    request = f"text-embedding-v4, query: request of 1 texts, {size} bytes"
    pace = "pace: unknown requests/min, unknown tokens/min, 4 in flight"
    assert lines(logging.DEBUG) == [
        f"{request}, retry 0: status 503, request_id ID, 0 tokens, T s, "
        f"ServerError: 503 ServiceUnavailable; {pace}",
        f"{request}, retry 1: status 200, request_id ID, 1 tokens, T s; {pace}",
    ]
    assert lines(logging.INFO) == [
        "text-embedding-v4, query: 1 texts in 2 requests (1 retries), 1 tokens, T s"
    ]


def test_the_pace_is_logged_once_it_is_known(service, caplog, lines):
    caplog.set_level(logging.DEBUG, "qwen_embed")
    made = QwenEmbedder(
        api_key=API_KEY,
        base_url=service.native_url,
        requests_per_minute=1800,
        tokens_per_minute=600_000,
    )

    made.embed_query("wind")

    [line] = lines(logging.DEBUG)
    assert "; pace: 1791 requests/min, 597000 tokens/min, " in line


def test_a_failed_call_is_logged_with_its_reason(interface, service, caplog, lines):
    caplog.set_level(logging.INFO, "qwen_embed")

    with pytest.raises(AuthenticationError):
        interface.query(interface(service, api_key="sk-another-key"), "a")

    assert lines(logging.INFO) == [
        "text-embedding-v4, query: 1 texts in 1 requests (0 retries), 0 tokens, T s, "
        "AuthenticationError: 401 InvalidApiKey"
    ]


@one_interface_per_package
def test_texts_that_fail_are_counted(interface, service, caplog, lines):
    caplog.set_level(logging.INFO, "qwen_embed")

    with pytest.raises(PartialFailureError):
        interface.documents(interface(service), ["a", "word " * 10_000])

    [line] = lines(logging.INFO)
    assert line.endswith("T s, PartialFailureError: 1 texts failed")


def test_no_text_is_in_any_line(interface, service, caplog, lines):
    caplog.set_level(logging.DEBUG)
    service.fail_next(9, status=400, code="SomeCode", message="bad: the wind over Shaoxing")

    with pytest.raises(Exception, match="Shaoxing"):
        interface.query(interface(service), "the wind over Shaoxing")

    assert len(lines(logging.DEBUG)) == len(lines(logging.INFO)) == 1
    assert "Shaoxing" not in caplog.text


def test_without_a_logging_setup_nothing_is_printed(interface, service, capfd):
    interface.query(interface(service), "a")

    assert any(isinstance(each, logging.NullHandler) for each in LOGGER.handlers)
    assert LOGGER.level == logging.NOTSET
    assert capfd.readouterr() == ("", "")


def record():
    return CallRecord("m", "query", "dense", 64, 1, Usage())


def never():
    raise AssertionError("nothing is to be put into words")


@pytest.mark.parametrize("level", [logging.WARNING, logging.INFO])
def test_nothing_is_formatted_below_the_log_level(caplog, lines, level):
    caplog.set_level(level, "qwen_embed")
    log = Log(never)

    with (
        observe(record(), [log.on_call], clock=lambda: 0.0) as observer,
        observer.request(texts=1, size=100, retries=0),
    ):
        pass

    assert len(lines(logging.INFO)) == (level == logging.INFO)
    assert lines(logging.DEBUG) == []


def test_calls_and_requests_are_timed(caplog):
    caplog.set_level(logging.DEBUG, "qwen_embed")
    times = iter([10.0, 11.0, 13.5, 20.0])
    log = Log(lambda: Limits(None, None, 4))

    with (
        observe(record(), [log.on_call], clock=lambda: next(times)) as observer,
        observer.request(texts=1, size=100, retries=0) as request,
    ):
        request.status = 200

    seconds = re.findall(r"(\d+\.\d+) s", caplog.text)
    assert seconds == ["2.500", "10.000"]

"""The emulator under requests that no client should send: it answers, and goes on being right."""

from __future__ import annotations

import copy
import json
import logging
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_embed.emulator import Emulator

few_examples = settings(max_examples=settings.default.max_examples // 4)

NATIVE = "/api/v1/services/embeddings/text-embedding/text-embedding"
OPENAI = "/compatible-mode/v1/embeddings"
OTHERS = "/v1/embeddings"
SECONDS = 10.0
SERVERS = ("service", "vllm", "vllm-matryoshka", "vllm-0.10.0", "tei", "lm-studio")

NATIVE_BODY = {
    "model": "text-embedding-v4",
    "input": {"texts": ["the cat", "the dog"]},
    "parameters": {"text_type": "query", "dimension": 64, "output_type": "dense&sparse"},
}
OPENAI_BODY = {
    "model": "text-embedding-v4",
    "input": ["the cat", "the dog"],
    "encoding_format": "float",
    "dimensions": 64,
}
OPEN_WEIGHTS_BODY = {**OPENAI_BODY, "model": "Qwen/Qwen3-Embedding-0.6B"}
del OPEN_WEIGHTS_BODY["dimensions"]  # which some of these servers do not take

CHUNKS = (b"2\r\n{}\r\n", b"0\r\n\r\n", b"zz\r\n", b"-1\r\n", b"5\r\n{", b"ffffffffff\r\n")

numbers = st.integers() | st.sampled_from([10**40, -1, 0, 2**63, 1e308, -0.0, 0.5]) | st.floats()
# JSON may name half a surrogate pair, which no UTF-8 holds.
strings = st.text(st.characters(codec=None), max_size=8) | st.sampled_from(
    ["\ud800", "\0", "x" * 40_000]
)
values = st.recursive(
    st.none() | st.booleans() | numbers | strings,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(strings, inner, max_size=3),
    max_leaves=6,
) | st.sampled_from([[["deep"]] * 3, ["text"] * 2000, {"texts": {}}])


@dataclass(frozen=True)
class ParsedResponse:
    """One HTTP answer."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, repr=False)
class Target:
    """An emulator that runs, and a request that it takes."""

    name: str
    service: Emulator
    path: str
    body: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"{self.name} {self.path}"

    @property
    def port(self) -> int:
        return int(urlsplit(self.service.openai_url).port or 0)


@pytest.fixture(scope="module")
def targets() -> Iterator[list[Target]]:
    services = {name: Emulator(backend=name) for name in SERVERS}
    with ExitStack() as running:
        for service in services.values():
            running.enter_context(service)
        yield [
            Target("service", services["service"], NATIVE, NATIVE_BODY),
            Target("service", services["service"], OPENAI, OPENAI_BODY),
            *(Target(name, services[name], OTHERS, OPEN_WEIGHTS_BODY) for name in SERVERS[1:]),
        ]


def post(path: str, body: bytes, *, last: bool = True, **headers: str) -> bytes:
    """Return the bytes of a request, after which the server closes unless another follows."""
    fields = {
        "Host": "localhost",
        "Authorization": "Bearer sk-emulator",
        "Content-Length": str(len(body)),
        **({"Connection": "close"} if last else {}),
        **headers,
    }
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body


def exchange(port: int, request: bytes, *, end: bool = False) -> list[ParsedResponse]:
    """Send bytes and return all answers until the server closes; `end` sends no more at once."""
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        received = b""
        try:
            connection.sendall(request)
            if end:
                connection.shutdown(socket.SHUT_WR)
            while block := connection.recv(1 << 16):
                received += block
        except TimeoutError:
            pytest.fail(f"no end after {SECONDS:g} seconds; received {received[:200]!r}")
        except ConnectionError:
            pass  # it may close before it has read all
    return list(answers_in(received))


def answers_in(received: bytes) -> Iterator[ParsedResponse]:
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        status_line, *lines = head.split(b"\r\n")
        status = int(status_line.split()[1])
        fields = dict(line.lower().split(b": ", 1) for line in lines)
        length = int(fields.get(b"content-length", 0))
        assert len(received) >= length, "an answer is cut short"
        if status != 100:
            yield ParsedResponse(status, received[:length])
        received = received[length:]


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[str]]:
    """What the log says at levels that people look at."""
    handler = Listener()
    logging.getLogger().addHandler(handler)
    yield handler.messages
    logging.getLogger().removeHandler(handler)


class Listener(logging.Handler):
    """Keeps messages, with the last line of each traceback."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info and record.exc_info[1]
        self.messages.append(f"{record.getMessage()}: {error!r}")


def check_refusal(target: Target, answer: ParsedResponse) -> None:
    """Check that an answer is a success, or a refusal with words in it."""
    if answer.status == 200:
        assert isinstance(answer.json, dict)
        return
    assert 400 <= answer.status < 500, answer
    if target.name == "tei":
        return  # which says some things in plain words, or none
    said = answer.json
    error = said.get("error", said)
    words = error if isinstance(error, str) else error["message"]
    assert isinstance(words, str)
    assert words


def check_health(target: Target, logged: list[str]) -> None:
    """Check that the next right request is answered as ever, and that nothing was logged."""
    body = json.dumps(target.body).encode()
    first, second = exchange(
        target.port, post(target.path, body, last=False) + post(target.path, body)
    )
    assert first.status == second.status == 200
    rows = [answer.json.get("data") or answer.json["output"] for answer in (first, second)]
    assert rows[0] == rows[1]
    assert len(rows[0] if isinstance(rows[0], list) else rows[0]["embeddings"]) == 2
    target.service.clear()
    messages = logged.copy()
    logged.clear()
    assert not messages


@few_examples
@given(data=st.data(), nth=st.integers(0, 6))
def test_json_of_any_shape_is_answered(
    targets: list[Target], logged: list[str], data: st.DataObject, nth: int
) -> None:
    target = targets[nth]
    body = copy.deepcopy(dict(target.body))
    for _ in range(data.draw(st.integers(1, 3), label="changes")):
        change(body, data)
    sent = json.dumps(body).encode()
    (answer,) = exchange(target.port, post(target.path, sent))
    check_refusal(target, answer)
    check_health(target, logged)


def change(body: Any, data: st.DataObject) -> None:
    """Replace, add or take away one value somewhere in a body."""
    name = data.draw(st.sampled_from([*body, "new"]), label="at")
    inner = body.get(name)
    if isinstance(inner, dict) and inner and data.draw(st.booleans(), label="inside"):
        change(inner, data)
    elif name in body and data.draw(st.integers(0, 3), label="whether") == 0:
        del body[name]
    else:
        body[name] = copy.deepcopy(data.draw(values, label="to"))


@given(
    nth=st.integers(0, 6),
    body=st.binary(max_size=50)
    | st.sampled_from(
        [b"", b"[" * 100_000, b'{"a":' * 50_000, b"nul", b"\xff\xfe", b"1e999", b"{}x"]
    ),
)
def test_a_body_of_any_bytes_is_refused(
    targets: list[Target], logged: list[str], nth: int, body: bytes
) -> None:
    target = targets[nth]
    (answer,) = exchange(target.port, post(target.path, body))
    assert answer.status != 200
    check_refusal(target, answer)
    check_health(target, logged)


ODD_HEADERS = (
    {"Content-Encoding": "nonsense"},
    {"Content-Type": "text/plain; charset=nonsense"},
    {"Content-Type": "\xff"},
    {"Authorization": "Bearer"},
    {"Authorization": ""},
    {"Authorization": "Basic c2s6c2s="},
    {"Authorization": "Bearer \xe9"},
    {"X-DashScope-WorkSpace": ""},
    {"Expect": "100-continue"},
    {"Upgrade": "websocket", "Connection": "upgrade, close"},
    {"Range": "bytes=5-"},
    {"If-Modified-Since": "never"},
    {"Cookie": "=;=;"},
    {"Host": ""},
    {"X-Long": "x" * 7000},
)
UNREADABLE = (
    {"Content-Encoding": "gzip"},
    {"Content-Encoding": "deflate"},
    {"Content-Encoding": "br"},
    {"Content-Encoding": "zstd"},
    {"Expect": "nonsense"},
)
"""What they announce cannot be read, or not done; the body is not what `Content-Encoding` says."""


@given(nth=st.integers(0, 6), headers=st.sampled_from(ODD_HEADERS))
def test_odd_headers_are_answered(
    targets: list[Target],
    logged: list[str],
    nth: int,
    headers: dict[str, str],
) -> None:
    target = targets[nth]
    body = json.dumps(target.body).encode()
    (answer,) = exchange(target.port, post(target.path, body, **headers))
    check_refusal(target, answer)
    check_health(target, logged)


@given(nth=st.integers(0, 6), headers=st.sampled_from(UNREADABLE))
def test_a_body_that_cannot_be_read_is_refused(
    targets: list[Target], logged: list[str], nth: int, headers: dict[str, str]
) -> None:
    target = targets[nth]
    body = json.dumps(target.body).encode()
    (answer,) = exchange(target.port, post(target.path, body, **headers))
    assert 400 <= answer.status < 500
    check_health(target, logged)


@given(
    nth=st.integers(0, 6),
    method=st.sampled_from(["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW", "post"]),
    path=st.sampled_from(["", "/", "//", "/%00", "/%ff", "/..", "/api/v1", "/v1", "/?a=b"])
    | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=8).map("/".__add__),
    within=st.booleans(),
)
def test_other_methods_and_paths_are_not_found(
    targets: list[Target],
    logged: list[str],
    nth: int,
    method: str,
    path: str,
    within: bool,
) -> None:
    target = targets[nth]
    full = target.path + path if within else path or "/"
    request = post(full, b"{}").replace(b"POST", method.encode(), 1)
    (answer,) = exchange(target.port, request)
    assert answer.status in (400, 404)
    if answer.status == 404:
        check_refusal(target, answer)
    check_health(target, logged)


@given(nth=st.integers(0, 6), count=st.integers(2, 6), data=st.data())
def test_pipelined_requests_are_answered_in_order(
    targets: list[Target],
    logged: list[str],
    nth: int,
    count: int,
    data: st.DataObject,
) -> None:
    target = targets[nth]
    right = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    body = json.dumps(target.body).encode()
    requests = [
        post(target.path, body if each else b"{}", last=place == count - 1)
        for place, each in enumerate(right)
    ]
    answers = exchange(target.port, b"".join(requests))
    assert [answer.status == 200 for answer in answers] == right
    for answer in answers:
        check_refusal(target, answer)
    check_health(target, logged)


@few_examples
@given(nth=st.integers(0, 6), data=st.data())
def test_a_request_that_is_cut_or_damaged_harms_no_other(
    targets: list[Target], logged: list[str], nth: int, data: st.DataObject
) -> None:
    target = targets[nth]
    request = bytearray(post(target.path, json.dumps(target.body).encode()))
    for _ in range(data.draw(st.integers(0, 3), label="damages")):
        at = data.draw(st.integers(0, len(request) - 1), label="at")
        request[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    cut = data.draw(st.integers(0, len(request)), label="cut")
    # Not all of it is HTTP: who reads it may close instead of answering.
    for answer in exchange(target.port, bytes(request[:cut]), end=True):
        assert answer.status == 200 or 400 <= answer.status < 500
    check_health(target, logged)


@few_examples
@given(
    nth=st.integers(0, 6),
    chunks=st.lists(
        st.sampled_from(
            [b"2\r\n{}\r\n", b"0\r\n\r\n", b"zz\r\n", b"-1\r\n", b"5\r\n{", b"ffffffffff\r\n"]
        ),
        max_size=4,
    ),
)
def test_chunks_of_any_kind_harm_no_other(
    targets: list[Target], logged: list[str], nth: int, chunks: list[bytes]
) -> None:
    target = targets[nth]
    head = post(target.path, b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    for answer in exchange(target.port, head + b"".join(chunks), end=True):
        assert 400 <= answer.status < 500
    check_health(target, logged)

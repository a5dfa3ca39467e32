"""Answers and refusals in which now and then something is odd, as text that no value prints as."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

LETTERS = 'a.[{"\\\x00\t\u98a8\u0663\U0001f600'
FINITE = st.floats(allow_nan=False, allow_infinity=False)
NUMBERS = st.one_of(
    FINITE.map(repr),
    st.floats(-1, 1, width=32).map(repr),
    st.integers(-3, 3).map(str),
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from(
        ["-0", "-0.0", "1E5", "1e5", "1e39", "-1e39", "1e-400", "5e-324", "3.4028235677973366e38"]
        + [f"{9223372036854775807 + more}" for more in (0, 1)]
        + [f"{18446744073709551615 + more}" for more in (0, 1)]
        + ["1" + "0" * 300, "0." + "1" * 400, "1" + "0" * 400 + "e-400", "1" * 5000 + "e-4999"]
    ),
)


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


ODD = st.one_of(
    st.sampled_from(
        ["null", "true", "false", "[]", "{}", '""', "0", "-1", "0.0", "1.5", "1e2", "[1.5]"]
        + ["[[1.5]]", "[1.5,[]]", "[1.5,[2.5]]", "[1.5,true]", "[1.5,null]", '["1.5"]', '"."']
        + ['"["', '"[1.5]"', '{"a":[1.5]}', '[{"a":1.5}]', '"AAAAPw=="', '"AAAAPw"', '"AAA="']
        + ['"AAAA Pw="', '"AADAfw=="', '"AACAfw=="', '"_-__AA=="', '"\\u0000"', '"\\ud83d\\ude00"']
        + ["-9223372036854775809", "18446744073709551616", "1" + "0" * 400, "-1" + "0" * 5000]
        + ["1e999", "-1e999", "NaN", "-Infinity", "01", "1.", ".5", "+1", "1e", "nul", "'a'"]
        + ['"\\ud800"', '"\\udc00x"', '"\\ud800\\u0041"', '"\\x"', '"\t"', "[1.5,]", '{"a":1,}']
        + [nested(depth) for depth in (2, 500, 1018, 1019, 1020, 1021, 1022, 1023, 1024, 3000)]
        + [nested(1020).replace("[", '{"a":[').replace("]", "]}")]
    ),
    st.text(LETTERS, max_size=3).map(json.dumps),
    NUMBERS,
)
NAMES = st.sampled_from(
    ["x", "[", ".", "", "\\u0065mbedding", "embedding", "error", "code", "\\u0000"]
)


class Writer:
    """Writes JSON in which now and then something is odd."""

    def __init__(self, draw: Callable[..., Any]) -> None:
        self.draw = draw

    def rarely(self, one_in: int = 30) -> bool:
        return self.draw(st.integers(0, one_in)) == one_in

    def value(self, printed: str) -> str:
        return self.draw(ODD) if self.rarely() else printed

    def members(self, **printed: str) -> str:
        members = [(name, self.value(value)) for name, value in printed.items()]
        if self.rarely(6):
            members.insert(0, (self.draw(NAMES), self.draw(ODD)))
        if members and self.rarely(8):  # named twice
            name, value = self.draw(st.sampled_from(members))
            odd = (name, self.draw(st.one_of(st.just(value), ODD)))
            members.insert(self.draw(st.integers(0, len(members))), odd)
        if self.rarely():
            members = [(f"member {n}", "0") for n in range(70)] + members
        if members and self.rarely():
            members.pop(self.draw(st.integers(0, len(members) - 1)))
        return "{" + ",".join(f'"{name}":{value}' for name, value in members) + "}"

    def array(self, printed: list[str]) -> str:
        return "[" + ",".join(self.value(value) for value in printed) + "]"

    def numbers(self, length: int) -> str:
        return self.array([self.draw(NUMBERS) for _ in range(length)])

    def indices(self, count: int) -> list[str]:
        return [str(index) for index in self.draw(st.permutations(range(count)))]

    def tokens(self) -> str:
        return str(self.draw(st.integers(0, 2**64)))

    def native(self, count: int, length: int) -> str:
        rows = [
            self.members(
                text_index=index,
                embedding=self.numbers(length),
                sparse_embedding=self.array([self.entry() for _ in range(2)]),
            )
            for index in self.indices(count)
        ]
        return self.members(
            output=self.members(embeddings=self.array(rows)),
            usage=self.members(total_tokens=self.tokens()),
            request_id='"r-1"',
            **(
                {"code": self.draw(st.sampled_from(['""', '"Throttling"']))}
                if self.rarely()
                else {}
            ),
        )

    def entry(self) -> str:
        value = self.draw(st.floats(0, 2)) if not self.rarely() else self.draw(FINITE)
        return self.members(
            index=str(self.draw(st.integers(0, 5))), value=repr(value), token='"the"'
        )

    def compatible(self, count: int, length: int) -> str:
        packed = self.draw(st.booleans())
        rows = [
            self.members(
                index=index, embedding=self.base64(length) if packed else self.numbers(length)
            )
            for index in self.indices(count)
        ]
        return self.members(
            data=self.array(rows),
            usage=self.members(total_tokens=self.tokens(), prompt_tokens=self.tokens()),
            id='"e-1"',
        )

    def base64(self, length: int) -> str:
        kinds = st.one_of(st.floats(-1, 1, width=32), st.floats(width=32))
        values = [
            self.draw(kinds if self.rarely() else st.floats(-1, 1, width=32)) for _ in range(length)
        ]
        printed = base64.b64encode(np.array(values, dtype="<f4").tobytes()).decode()
        return f'"{printed}"'


@st.composite
def bodies(draw: Callable[..., Any], protocol: str, count: int) -> bytes:
    """Answers of `count` rows, most of them odd in some way."""
    writer = Writer(draw)
    length = draw(st.sampled_from([2, 2, 2, 1, 3]))
    write = writer.native if protocol == "native" else writer.compatible
    body = write(count, length).encode("utf-8", "surrogatepass")
    if writer.rarely(8):
        return damaged(draw, body)
    return body


def damaged(draw: Callable[..., Any], body: bytes) -> bytes:
    at = draw(st.integers(0, len(body)))
    piece = draw(
        st.one_of(
            st.binary(max_size=2),
            st.sampled_from(
                [b"\xef\xbb\xbf", b"\0", b" ", b"\x0c", b"{}", b",", b"]", b"\xff", b"\xed\xa0\x80"]
            ),
        )
    )
    dropped = draw(st.sampled_from([0, 1, 2, len(body)]))
    where = draw(st.sampled_from([0, at, len(body)]))
    return body[:where] + piece + body[where + dropped :]


TIMES = st.one_of(
    st.text(LETTERS, max_size=8),
    NUMBERS,
    st.sampled_from(["-5", "nan", "inf", "1e308", "-inf", "1_0", "\u0663", "", " 3 ", "0x10"]),
    st.builds(
        "{}, {} {} {} {}:{}:{} {}".format,
        st.sampled_from(["Sun", "", "So"]),
        st.integers(-1, 10**10),
        st.sampled_from(["Nov", "Feb", "", "11"]),
        st.one_of(st.integers(-1, 99), st.integers(1900, 10000), st.integers(0, 10**13)),
        st.integers(0, 61),
        st.integers(0, 61),
        st.integers(0, 61),
        st.one_of(
            st.sampled_from(["GMT", "", "EST", "-0000", "\u98a8"]),
            st.integers(-(10**5), 10**5).map("{:+05d}".format),
        ),
    ),
)
ADDRESSES = st.one_of(
    st.text(LETTERS, max_size=12),
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["http://", "//", "http:"]),
        st.text("[]:@/\u2100a1.%", max_size=6),
        st.text(LETTERS, max_size=4),
    ),
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Retry-After": TIMES,
        "retry-after-ms": TIMES,
        "LOCATION": ADDRESSES,
        "x": st.text(LETTERS),
    },
)
WORDS = st.sampled_from(
    [
        '"Throttling"',
        '"batch size is invalid, it should not be larger than %s."' % ("9" * 5000),
        '"maximum allowed batch size 0"',
        '"dimensions not supported"',
        '"\u98a8"',
        "429",
    ]
)


@st.composite
def refusals(draw: Callable[..., Any]) -> bytes:
    writer = Writer(draw)
    members = {
        name: draw(st.one_of(WORDS, ODD))
        for name in draw(st.sets(st.sampled_from(["code", "message", "request_id", "id", "type"])))
    }
    inner = writer.members(**members) if draw(st.booleans()) else draw(st.one_of(WORDS, ODD))
    body = writer.members(error=inner, **members).encode("utf-8", "surrogatepass")
    return damaged(draw, body) if writer.rarely(4) else body

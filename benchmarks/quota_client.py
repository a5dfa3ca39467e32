"""One client process of the quota's measure: it embeds on a signal and says what came of it.

`quotas.py` starts it, so that every client starts knowing nothing.
"""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Mapping

import msgspec
from contenders import BY_NAME
from contenders.contender import Embed, Row
from rounds import first_line, make_texts


class Task(msgspec.Struct, frozen=True):
    """What a client does.

    Attributes:
        contender: The name of the contender.
        root: The root of the service.
        texts: Texts of a call.
        options: More options of the client.
    """

    contender: str
    root: str
    texts: int
    options: Mapping[str, int | str] = {}


class Ready(msgspec.Struct):
    """Whether the client could be opened.

    Attributes:
        unusable: Why it cannot embed; empty if it can.
    """

    unusable: str = ""


class Done(msgspec.Struct):
    """What came of a call.

    Attributes:
        seconds: Its wall time.
        lost: How many texts are without a vector.
        error: What it raised, if anything.
    """

    seconds: float
    lost: int
    error: str = ""


def call(embed: Embed, texts: list[str]) -> Done:
    """Embed texts and count those without a vector; an error may bring the rows of the others."""
    start = time.perf_counter()
    error = ""
    try:
        rows = embed(texts)
    except Exception as raised:  # peers raise all sorts
        result: list[Row] | None = getattr(raised, "result", None)
        rows = result or [None] * len(texts)
        error = f"{type(raised).__name__}: {first_line(raised)}"
    seconds = time.perf_counter() - start
    return Done(seconds, lost=len(texts) - sum(row is not None for row in rows), error=error)


def say(message: Ready | Done) -> None:
    """Tell the parent, in one line."""
    print(msgspec.json.encode(message).decode(), flush=True)


def main() -> None:
    """Open the client, then embed once for each line of standard input."""
    logging.disable()
    warnings.simplefilter("ignore")
    task = msgspec.json.decode(sys.argv[1], type=Task)
    try:
        opened = BY_NAME[task.contender].opened(task.root, **task.options)
        with opened as embed:
            say(Ready())
            for _ in sys.stdin:
                say(call(embed, make_texts(task.texts)))
    except (ImportError, ValueError) as error:  # pydantic's errors are ValueErrors
        message = " ".join(str(error).split())
        say(Ready(unusable=message.partition(" [type=")[0]))  # pydantic goes on at length


if __name__ == "__main__":
    main()

"""What is known of calls and of their requests while they run, for whoever listens.

Spans and the log listen; see `tracing` and `logs` beside it. Nothing here holds a text, the key, or
a message of the other side, which may repeat either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass

from qwen_embed.errors import (
    ConnectionFailedError,
    PartialFailureError,
    RequestError,
    ServiceError,
)
from qwen_embed.types import Output, TextType
from qwen_embed.usage import Usage


@dataclass(frozen=True)
class Failure:
    """Why a call or a request failed.

    Attributes:
        kind: The name of the exception's class.
        reason: The status and code of a refusal, or what else may be told; it may be empty.
        request_id: The service's name for the request, or `None`.
    """

    kind: str
    reason: str = ""
    request_id: str | None = None

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Return what may be told of an exception."""
        kind = type(error).__qualname__
        if isinstance(error, ServiceError):
            return cls(kind, f"{error.status_code} {error.code}".strip(), error.request_id)
        if isinstance(error, ConnectionFailedError):
            # The rest may quote an answer that is no HTTP.
            return cls(kind, error.message.partition(":")[0])
        if isinstance(error, PartialFailureError):
            return cls(kind, f"{len(error.failures)} texts failed")
        return cls(kind, error.message if isinstance(error, RequestError) else "")


@dataclass
class RequestRecord:
    """One HTTP request.

    Attributes:
        texts: How many texts it carries.
        size: The bytes of its body.
        repeats: How often it was sent before.
        status: The HTTP status of its answer, or `None` where none came.
        request_id: The service's name for it, or `None`.
        tokens: The tokens that were billed.
        seconds: How long it took.
        failure: Why it failed, or `None`.
    """

    texts: int
    size: int
    repeats: int
    status: int | None = None
    request_id: str | None = None
    tokens: int = 0
    seconds: float = 0.0
    failure: Failure | None = None


@dataclass
class CallRecord:
    """One call.

    Attributes:
        model: The model's name.
        text_type: The role of the texts.
        output: The kind of vectors that are asked for.
        dimension: The length of the dense vectors, or `None` where none are asked for or nothing is
            known.
        texts: How many texts were given.
        usage: What was used so far.
        seconds: How long it took.
        failure: Why it failed, wholly or for some texts, or `None`.
    """

    model: str
    text_type: TextType
    output: Output
    dimension: int | None
    texts: int
    usage: Usage
    seconds: float = 0.0
    failure: Failure | None = None


RequestHook = Callable[[RequestRecord], AbstractContextManager[object]]
"""Listens to one request of a call, which runs within the context."""
CallHook = Callable[[CallRecord], "AbstractContextManager[RequestHook] | None"]
"""Listens to one call, which runs within the context; `None` where nobody would hear of it."""


class Observer:
    """Tells listeners of the requests of one call.

    Args:
        listeners: Who is told.
        clock: Returns seconds that never go back.
    """

    def __init__(self, listeners: Sequence[RequestHook], clock: Callable[[], float]) -> None:
        self._listeners = listeners
        self._clock = clock

    def request(
        self, *, texts: int, size: int, repeats: int
    ) -> AbstractContextManager[RequestRecord]:
        """Observe a request that is sent and answered within the context."""
        record = RequestRecord(texts, size, repeats)
        return self._told(record) if self._listeners else nullcontext(record)

    @contextmanager
    def _told(self, record: RequestRecord) -> Iterator[RequestRecord]:
        with ExitStack() as stack:
            for listener in self._listeners:
                stack.enter_context(listener(record))
            try:
                with _timed(record, self._clock):
                    yield record
            finally:
                if record.failure is not None:
                    record.request_id = record.failure.request_id


NULL_OBSERVER = Observer((), clock=lambda: 0.0)
"""Where nobody listens."""


def observe(
    call: CallRecord, listen: Iterable[CallHook], *, clock: Callable[[], float]
) -> AbstractContextManager[Observer]:
    """Observe a call that runs within the context.

    Args:
        call: The call.
        listen: Who may want to listen.
        clock: Returns seconds that never go back.
    """
    heard = [listener for each in listen if (listener := each(call)) is not None]
    return _observed(call, heard, clock) if heard else nullcontext(NULL_OBSERVER)


@contextmanager
def _observed(
    call: CallRecord,
    heard: Sequence[AbstractContextManager[RequestHook]],
    clock: Callable[[], float],
) -> Iterator[Observer]:
    with ExitStack() as stack:
        observer = Observer([stack.enter_context(listener) for listener in heard], clock)
        with _timed(call, clock):
            yield observer


@contextmanager
def _timed(record: CallRecord | RequestRecord, clock: Callable[[], float]) -> Iterator[None]:
    """Note how long something takes, and why it failed, before listeners hear of its end."""
    started = clock()
    try:
        yield
    except BaseException as error:
        record.failure = Failure.of(error)
        raise
    finally:
        record.seconds = clock() - started

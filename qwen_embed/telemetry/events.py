"""Records of calls and requests while they run, and the hooks that receive them.

`tracing` and `logs` have such hooks. Records never contain a text, the API key, or a message of the
server, which may contain either.
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
        reason: The status and code of an error response, or another reason that contains no text
            and no key; may be empty.
        request_id: The service's id of the request, or `None`.
    """

    kind: str
    reason: str = ""
    request_id: str | None = None

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Return the parts of an exception that contain no text and no key."""
        kind = type(error).__qualname__
        if isinstance(error, ServiceError):
            return cls(kind, f"{error.status_code} {error.code}".strip(), error.request_id)
        if isinstance(error, ConnectionFailedError):
            # The rest may quote a response that is not HTTP.
            return cls(kind, error.message.partition(":")[0])
        if isinstance(error, PartialFailureError):
            return cls(kind, f"{len(error.failures)} texts failed")
        return cls(kind, error.message if isinstance(error, RequestError) else "")


@dataclass
class RequestRecord:
    """One HTTP request.

    Attributes:
        texts: The number of its texts.
        size: The size of its body in bytes.
        retries: How often it was sent before.
        status: The HTTP status of the response, or `None` without a response.
        request_id: The service's id of the request, or `None`.
        tokens: The tokens billed.
        seconds: How long it took.
        failure: Why it failed, or `None`.
    """

    texts: int
    size: int
    retries: int
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
        output: The kind of vectors requested.
        dimension: The dimension of the dense vectors, or `None` if none are requested or it is not
            known.
        texts: The number of its texts.
        usage: What it has used so far.
        seconds: How long it took.
        failure: Why all or some of its texts failed, or `None`.
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
"""Receives the record of a request and returns the context in which the request runs."""
CallHook = Callable[[CallRecord], "AbstractContextManager[RequestHook] | None"]
"""Receives the record of a call and returns the context in which the call runs, or `None` if
nothing needs to be recorded."""


class Observer:
    """Passes the requests of one call to hooks.

    Args:
        hooks: The hooks.
        clock: Returns monotonic seconds.
    """

    def __init__(self, hooks: Sequence[RequestHook], clock: Callable[[], float]) -> None:
        self._hooks = hooks
        self._clock = clock

    def request(
        self, *, texts: int, size: int, retries: int
    ) -> AbstractContextManager[RequestRecord]:
        """Return the context in which a request is sent and its response received."""
        record = RequestRecord(texts, size, retries)
        return self._observed(record) if self._hooks else nullcontext(record)

    @contextmanager
    def _observed(self, record: RequestRecord) -> Iterator[RequestRecord]:
        with ExitStack() as stack:
            for hook in self._hooks:
                stack.enter_context(hook(record))
            try:
                with _timed(record, self._clock):
                    yield record
            finally:
                if record.failure is not None:
                    record.request_id = record.failure.request_id


NULL_OBSERVER = Observer((), clock=lambda: 0.0)
"""The observer of a call without hooks."""


def observe(
    call: CallRecord, hooks: Iterable[CallHook], *, clock: Callable[[], float]
) -> AbstractContextManager[Observer]:
    """Return the context in which a call runs, with the observer of its requests.

    Args:
        call: The record of the call.
        hooks: The hooks that may want to record it.
        clock: Returns monotonic seconds.
    """
    contexts = [context for hook in hooks if (context := hook(call)) is not None]
    return _observed(call, contexts, clock) if contexts else nullcontext(NULL_OBSERVER)


@contextmanager
def _observed(
    call: CallRecord,
    contexts: Sequence[AbstractContextManager[RequestHook]],
    clock: Callable[[], float],
) -> Iterator[Observer]:
    with ExitStack() as stack:
        observer = Observer([stack.enter_context(context) for context in contexts], clock)
        with _timed(call, clock):
            yield observer


@contextmanager
def _timed(record: CallRecord | RequestRecord, clock: Callable[[], float]) -> Iterator[None]:
    """Record how long something takes and why it failed, before the hooks' contexts end."""
    started = clock()
    try:
        yield
    except BaseException as error:
        record.failure = Failure.of(error)
        raise
    finally:
        record.seconds = clock() - started

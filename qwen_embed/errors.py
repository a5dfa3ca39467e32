"""The exceptions of this package, and what each means for the caller.

    QwenEmbedError
    ├── InputError (also ValueError)       found before anything was sent
    ├── ClosedError (also RuntimeError)    used after `close()`
    ├── PartialFailureError                some texts failed, the others are in `.result`
    └── RequestError                       one request failed
        ├── ConnectionFailedError          no answer; retried
        │   └── CertificateError           the host could not show who it is
        ├── RequestTimeoutError            no answer in time (also TimeoutError); retried
        ├── InvalidResponseError           an answer that cannot be believed
        │   └── MalformedResponseError     an answer that is not whole; retried
        └── ServiceError                   the service refused
            ├── AuthenticationError        the key
            ├── PermissionDeniedError      rights, overdue balance, used up free tier
            ├── ModelNotFoundError         the model
            ├── BatchSizeError             too many texts; learnt from, never raised to the user
            ├── UnsupportedDimensionError      the dimension
            ├── UnsupportedEncodingError       how numbers are printed; learnt from
            ├── TextRejectedError           something in the texts; halved until the text is known
            │   └── ModerationError        the service's content inspection
            ├── RateLimitError             throttled; retried
            └── ServerError                the service's own fault; retried

No message ever holds the API key. The only warnings are `InsecureHttpWarning` and
`QueryRoleWarning`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

Scope = Literal["request", "texts", "call"]
"""How far an error reaches: this request, so that it may be repeated; the texts that it carried, so
that they are told apart; or the whole call, since no other request would fare better."""


class InsecureHttpWarning(UserWarning):
    """The key and the texts go to another machine unencrypted.

    Given when an object is made whose `base_url` begins with `http://` and is not this machine's,
    once for each host. `warnings.simplefilter("error", InsecureHttpWarning)` makes it an error.
    """


class QueryRoleWarning(UserWarning):
    """Queries go out as documents do, since the protocol and the model tell them not apart.

    Given when an object is made that speaks the `openai` protocol and has no `query_template`;
    `query_template="{query}"` says that this is meant.
    """


class QwenEmbedError(Exception):
    """Base of every exception that this package raises on purpose.

    But for options that cannot be used, which are a `pydantic.ValidationError`.
    """


class InputError(QwenEmbedError, ValueError):
    """Texts or an argument that cannot be embedded; found before anything was sent or paid for.

    It comes for a str in place of a list, and for texts that are no str, are empty or blank, have
    half a surrogate pair, or are larger than 16 MiB; where sparse vectors are asked of a model or a
    protocol that has none; and where a proxy of the environment is not an HTTP proxy. It is a
    `ValueError` too.

    Attributes:
        indices: Positions of the texts at fault in the list that was given, all of them; empty
            where it is no text that is at fault.

    Example:
        >>> from qwen_embed import InputError, QwenEmbedder
        >>> embedder = QwenEmbedder(api_key="sk-...")
        >>> try:
        ...     embedder.embed_documents(["The wind rises.", "", None])
        ... except InputError as error:
        ...     print(error.indices)
        (1, 2)
    """

    def __init__(self, message: str, indices: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.indices = tuple(indices)


class ClosedError(QwenEmbedError, RuntimeError):
    """The object was closed, by `close()` or the end of its `with` block; make a new one.

    Calls that still run then end with it too, and so does every call while the interpreter exits.

    Attributes:
        result: Where it ended a call on several texts, the rows that had arrived by then, as in
            `PartialFailureError.result`; else `None`.
    """

    result: Any = None

    @classmethod
    def at_exit(cls) -> ClosedError:
        """Return the error of a call that comes too late: the interpreter is exiting."""
        return cls(
            "The interpreter is exiting and qwen-embed has stopped. Make the first call before the "
            "main thread ends, and register your own `atexit` handlers after that call."
        )


class RequestError(QwenEmbedError):
    """One request failed for good: after all repeats, where it is of a kind that can heal.

    A call raises it for a single text, and where no other text would fare better; else it is the
    `error` of a text in `PartialFailureError.failures`.

    Attributes:
        message: What happened.
        hint: What to do about it, or `None`.
        scope: How far it reaches: this `request`, the `texts` that it carried, or the whole `call`.
        result: Where this ended a call on several texts, the rows that had arrived by then, as
            in `PartialFailureError.result`; else `None`.
    """

    scope: ClassVar[Scope] = "request"
    result: Any = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return " ".join(_sentence(part) for part in (self.message, self.hint) if part)


class ConnectionFailedError(RequestError):
    """The service could not be reached, or the connection was lost before the whole answer came.

    Raised after `max_retries` repeats. It has the attributes of `RequestError`.
    """


class CertificateError(ConnectionFailedError):
    """The host's certificate could not be verified, so nothing was sent to it.

    Ends the call, and is not retried. For an authority of your own set `SSL_CERT_FILE` before the
    program starts. It has the attributes of `RequestError`.
    """

    scope: ClassVar[Scope] = "call"


class RequestTimeoutError(RequestError, TimeoutError):
    """No whole answer came within `timeout` seconds, or no end of the call within `total_timeout`.

    The first is raised after `max_retries` repeats, the second at once. It has the attributes of
    `RequestError`, `result` with the rows that had arrived among them, and is a `TimeoutError` too.

    Example:
        >>> from qwen_embed import QwenEmbedder, RequestTimeoutError
        >>> from qwen_embed.emulator import Emulator
        >>> with Emulator(latency=30) as service:
        ...     options = {"api_key": service.api_key, "base_url": service.native_url}
        ...     with QwenEmbedder(total_timeout=0.1, **options) as embedder:
        ...         try:
        ...             embedder.embed_documents(["The wind rises.", "Cats like milk."])
        ...         except RequestTimeoutError as error:
        ...             print(error, error.result.dense.shape)
        The call was not done within total_timeout, 0.1 seconds. (2, 1024)
    """


class InvalidResponseError(RequestError):
    """An answer that cannot be believed: wrong count, order or dimension, or not numbers.

    It was billed, and another would be as wrong, so it is not asked for again, and ends the call.
    It has the attributes of `RequestError`.
    """

    scope: ClassVar[Scope] = "call"


class MalformedResponseError(InvalidResponseError):
    """An answer that is not whole JSON: cut short on its way, or another server's page.

    Raised after `max_retries` repeats. It has the attributes of `RequestError`.
    """

    scope: ClassVar[Scope] = "request"


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?", ":", "。")) else f"{text}."


class ServiceError(RequestError):
    """The service answered with a refusal. Its subclasses say of what kind.

    Attributes:
        status_code: The HTTP status.
        code: The service's own code, such as `"InvalidApiKey"`; empty where it sent none.
        request_id: What the service's support asks for, or `None`.
        retry_after: Seconds after which the service wants to be asked again, or `None`.
        message: The service's own message.
        hint: What to do about it, or `None`.
        result: The rows that had arrived, as in `RequestError`, or `None`.

    Example:
        >>> from qwen_embed import QwenEmbedder, ServiceError
        >>> from qwen_embed.emulator import Emulator
        >>> with Emulator(api_key="sk-right") as service:
        ...     with QwenEmbedder(api_key="sk-wrong", base_url=service.native_url) as embedder:
        ...         try:
        ...             embedder.embed_query("Who stole the tarts?")
        ...         except ServiceError as error:
        ...             print(type(error).__name__, error.status_code, error.code)
        AuthenticationError 401 InvalidApiKey
    """

    scope: ClassVar[Scope] = "call"

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        status_code: int = 0,
        code: str = "",
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status_code = status_code
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after

    def __str__(self) -> str:
        origin = f"{self.status_code} {self.code}".strip()
        request = f" (request {self.request_id})" if self.request_id else ""
        return f"{origin}: {super().__str__()}{request}"


class AuthenticationError(ServiceError):
    """The API key was not accepted. A key belongs to one region; `hint` says which was asked.

    Ends the call, and is not retried. It has the attributes of `ServiceError`.
    """


class PermissionDeniedError(ServiceError):
    """The account may not do this: rights, arrears, a used up free tier, an overdue bill.

    Ends the call, and is not retried. It has the attributes of `ServiceError`.
    """


class ModelNotFoundError(ServiceError):
    """The service does not know the model, or the account does not have it.

    Ends the call, and is not retried. It has the attributes of `ServiceError`.
    """


class BatchSizeError(ServiceError):
    """The request carried more texts than the service takes.

    Requests are cut smaller from then on, so that users see it only where even a single text is
    refused for it.

    Attributes:
        limit: The cap that the service named, or `None` where it named none. The others are those
            of `ServiceError`.
    """

    scope: ClassVar[Scope] = "texts"

    def __init__(self, message: str, *, limit: int | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.limit = limit


class UnsupportedDimensionError(ServiceError):
    """The service refused the dimension, whatever the texts; `hint` says what to do.

    Ends the call, and is not retried. It has the attributes of `ServiceError`.
    """


class UnsupportedEncodingError(ServiceError):
    """The server does not know the encoding of numbers that was asked for.

    It is asked again for printed ones, so that users see this only where it refuses those too.
    """


class TextRejectedError(ServiceError):
    """The service refused the request for something in its texts, such as one that is too long.

    The request is halved until the text at fault is known, and the others get their rows. It is
    raised for a single text, and is else in `PartialFailureError.failures`. It has the attributes
    of `ServiceError`.
    """

    scope: ClassVar[Scope] = "texts"


class ModerationError(TextRejectedError):
    """The service's content inspection refused a text; see `TextRejectedError`."""


class RateLimitError(ServiceError):
    """The account sent too much too fast.

    Throttled requests wait their turn. It is raised where the account serves nothing at all for 15
    seconds times `max_retries`, or wants a longer wait than that.

    Attributes:
        quota: What was used up: `requests` or `tokens`; or `burst` where the number of requests
            rose too quickly. The others are those of `ServiceError`.
    """

    scope: ClassVar[Scope] = "request"

    def __init__(
        self,
        message: str,
        *,
        quota: Literal["requests", "tokens", "burst"] = "requests",
        **details: Any,
    ) -> None:
        super().__init__(message, **details)
        self.quota = quota


class ServerError(ServiceError):
    """The service failed or was too busy, such as with 408, 500 or 503.

    Raised after `max_retries` repeats. It has the attributes of `ServiceError`.
    """

    scope: ClassVar[Scope] = "request"


@dataclass(frozen=True)
class TextFailure:
    """One text that could not be embedded, as `PartialFailureError.failures` names it.

    Attributes:
        index: The text's position in the list that was given.
        text: The text's first 80 characters.
        error: Why.

    Example:
        >>> failure = TextFailure.of(3, "word " * 20_000, TextRejectedError("Too long."))
        >>> failure.index, len(failure.text)
        (3, 80)
    """

    index: int
    text: str
    error: RequestError

    @classmethod
    def of(cls, index: int, text: str, error: RequestError) -> TextFailure:
        """Return the failure of a text, of which only the first 80 characters are kept."""
        return cls(index, text[:80], error)


class PartialFailureError(QwenEmbedError):
    """Some texts could not be embedded. The others were: they are in `result`.

    Attributes:
        result: What succeeded, in the form that the call returns, one row a text in input order.
            In lists the row of a failed text is `None`; in arrays it is filled with NaN. `None`
            where the rows had been given before, by a stream.
        failures: The texts that failed, by index: a `TextFailure` each, with its error.

    Example:
        >>> from qwen_embed import PartialFailureError, QwenEmbedder
        >>> from qwen_embed.emulator import Emulator
        >>> with Emulator() as service:
        ...     options = {"api_key": service.api_key, "base_url": service.native_url}
        ...     with QwenEmbedder(**options) as embedder:
        ...         try:
        ...             embedder.embed_documents(["The wind rises.", "word " * 20_000])
        ...         except PartialFailureError as error:
        ...             print([failure.index for failure in error.failures])
        ...             print(error.result.dense.shape)
        [1]
        (2, 1024)
    """

    def __init__(
        self, message: str, *, result: Any = None, failures: Sequence[TextFailure] = ()
    ) -> None:
        super().__init__(message)
        self.result = result
        self.failures = tuple(failures)

    @classmethod
    def of(
        cls, failures: Sequence[TextFailure], *, result: Any, count: int
    ) -> PartialFailureError | RequestError:
        """Return the error for failures among `count` texts: the text's own where it is alone.

        Args:
            failures: One or more.
            result: The rows of all texts, those of the failed ones marked, or `None`.
            count: How many texts there were.
        """
        first = failures[0]
        if count == 1:
            return first.error
        others = "were given" if result is None else "are in `.result`"
        return cls(
            f"{len(failures)} of {count} texts could not be embedded; `.failures` names them, and "
            f"the rows of the others {others}. The first is texts[{first.index}]: {first.error}",
            result=result,
            failures=failures,
        )

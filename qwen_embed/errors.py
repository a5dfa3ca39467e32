"""The exceptions of this package, and what each means for the caller.

    QwenEmbedError
    ├── InputError (also ValueError)         invalid texts, found before anything is sent
    ├── ClosedError (also RuntimeError)      used after `close()`
    ├── PartialFailureError                  some texts failed, the others are in `.result`
    └── RequestError                         a request failed
        ├── ConnectionFailedError            no response; retried
        │   └── CertificateError             the host's certificate cannot be verified
        ├── RequestTimeoutError              no response in time (also TimeoutError); retried
        ├── InvalidResponseError             a response that fails validation
        │   └── MalformedResponseError       an incomplete response; retried
        └── ServiceError                     an error response of the service
            ├── AuthenticationError          the API key
            ├── PermissionDeniedError        rights, overdue balance, exhausted free tier
            ├── ModelNotFoundError           the model
            ├── BatchSizeError               too many texts per request; handled
            ├── UnsupportedDimensionError    the dimension
            ├── UnsupportedEncodingError     the encoding of numbers; handled
            ├── TextRejectedError            a text
            │   └── ModerationError          content inspection
            ├── RateLimitError               throttled; retried
            └── ServerError                  the service's own fault; retried

No message contains the API key. The only warnings are `InsecureHttpWarning` and
`QueryRoleWarning`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

Scope = Literal["request", "texts", "call"]
"""What an error affects: only this request, which may be retried; one of its texts, so the request
is split; or the whole call, because every other request would fail in the same way."""


class InsecureHttpWarning(UserWarning):
    """The key and the texts go to another machine without encryption.

    Issued once per host, when an object is created whose `base_url` is an `http://` address of
    another machine. `warnings.simplefilter("error", InsecureHttpWarning)` turns it into an error.
    """


class QueryRoleWarning(UserWarning):
    """Queries are embedded like documents: neither the protocol nor the model distinguishes them.

    Issued when an object is created that uses the `openai` protocol without a `query_template`.
    Set `query_template="{query}"` if this is intended.
    """


class QwenEmbedError(Exception):
    """Base of all exceptions that this package raises.

    Only invalid options raise another one: `pydantic.ValidationError`.
    """


class InputError(QwenEmbedError, ValueError):
    """Invalid texts or an invalid argument, found before anything is sent or paid for.

    Raised for a str instead of a list, and for texts that are not a str, are empty or blank,
    contain an unpaired surrogate, or are larger than 16 MiB. Also raised if the model or the
    protocol has no sparse vectors but they are requested, and if a proxy named in the environment
    is not an HTTP proxy. It is also a `ValueError`.

    Attributes:
        indices: Positions of all invalid texts in the caller's list; empty if the error is not
            about a text.

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
    """The object was closed, by `close()` or at the end of its `with` block; create a new one.

    Also raised by calls that were still running, and by every call while the interpreter exits.

    Attributes:
        result: If it ended a call on several texts, the vectors that had arrived, in the form of
            `PartialFailureError.result`; otherwise `None`.
    """

    result: Any = None

    @classmethod
    def at_exit(cls) -> ClosedError:
        """Return the error of a call that is made while the interpreter exits."""
        return cls(
            "The interpreter is exiting and qwen-embed has stopped. Make the first call before the "
            "main thread ends, and register your own `atexit` handlers after that call."
        )


class RequestError(QwenEmbedError):
    """A request failed, and if the error was transient, all its retries failed too.

    A call raises it if it has a single text, or if every other request would fail in the same way.
    Otherwise it is the `error` of a text in `PartialFailureError.failures`.

    Attributes:
        message: What happened.
        hint: What to do about it, or `None`.
        scope: What it affects: this `request`, one of its `texts`, or the whole `call`.
        result: If it ended a call on several texts, the vectors that had arrived, in the form of
            `PartialFailureError.result`; otherwise `None`.
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
    """The service could not be reached, or the connection was lost before the response ended.

    Raised after `max_retries` retries. It has the attributes of `RequestError`.
    """


class CertificateError(ConnectionFailedError):
    """The host's certificate could not be verified, so nothing was sent.

    Ends the call without a retry. If your organisation has its own certificate authority, set
    `SSL_CERT_FILE` before the program starts. It has the attributes of `RequestError`.
    """

    scope: ClassVar[Scope] = "call"


class RequestTimeoutError(RequestError, TimeoutError):
    """A request exceeded `timeout`, or the whole call exceeded `total_timeout`.

    The first is raised after `max_retries` retries, the second at once. It has the attributes of
    `RequestError`, including `result` with the vectors that had arrived. It is also a
    `TimeoutError`.

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
        The call did not finish within total_timeout, 0.1 seconds. (2, 1024)
    """


class InvalidResponseError(RequestError):
    """The response failed validation: wrong count, order or dimension, or not numbers.

    Ends the call without a retry, because the response was billed and another one would be as
    wrong. It has the attributes of `RequestError`.
    """

    scope: ClassVar[Scope] = "call"


class MalformedResponseError(InvalidResponseError):
    """The response is not complete JSON: the connection broke off, or another server answered.

    Raised after `max_retries` retries. It has the attributes of `RequestError`.
    """

    scope: ClassVar[Scope] = "request"


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?", ":", "。")) else f"{text}."


class ServiceError(RequestError):
    """The service returned an error response. The subclasses say which kind.

    Attributes:
        status_code: The HTTP status.
        code: The service's own code, such as `"InvalidApiKey"`; empty if it sent none.
        request_id: The service's id of the request, which its support asks for, or `None`.
        retry_after: Seconds to wait before the next attempt, if the service sent them, or `None`.
        message: The service's own message.
        hint: What to do about it, or `None`.
        result: The vectors that had arrived, as in `RequestError`, or `None`.

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
    """The API key was rejected. A key belongs to one region; `hint` says which one was called.

    Ends the call without a retry. It has the attributes of `ServiceError`.
    """


class PermissionDeniedError(ServiceError):
    """The account may not do this: missing rights, an overdue balance, an exhausted free tier.

    Ends the call without a retry. It has the attributes of `ServiceError`.
    """


class ModelNotFoundError(ServiceError):
    """The model does not exist, or the account cannot use it in this region.

    Ends the call without a retry. It has the attributes of `ServiceError`.
    """


class BatchSizeError(ServiceError):
    """The request had more texts than the service accepts.

    Handled: later requests have fewer texts. Raised only if the service rejects even a single text
    for this reason.

    Attributes:
        limit: The limit that the service named, or `None` if it named none. The others are those
            of `ServiceError`.
    """

    scope: ClassVar[Scope] = "texts"

    def __init__(self, message: str, *, limit: int | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.limit = limit


class UnsupportedDimensionError(ServiceError):
    """The model or the server does not support the dimension; `hint` says what to do.

    Ends the call without a retry. It has the attributes of `ServiceError`.
    """


class UnsupportedEncodingError(ServiceError):
    """The server does not support the requested encoding of numbers.

    Handled: printed numbers are requested instead. Raised only if the server rejects those too.
    """


class TextRejectedError(ServiceError):
    """The service rejected a text, for example because it is too long.

    A rejected request is split until the invalid text is known; the other texts are embedded.
    Raised if the call has a single text, otherwise found in `PartialFailureError.failures`. It has
    the attributes of `ServiceError`.
    """

    scope: ClassVar[Scope] = "texts"


class ModerationError(TextRejectedError):
    """The service's content inspection rejected a text; see `TextRejectedError`."""


class RateLimitError(ServiceError):
    """The service throttled the account.

    Throttled requests are retried. Raised only if no request of the account succeeds for 15 seconds
    times `max_retries`, or if the service demands a longer wait than that.

    Attributes:
        quota: The quota that is exhausted, `requests` or `tokens`; or `burst` if the number of
            requests grew too quickly. The others are those of `ServiceError`.
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
    """The service failed or was overloaded, for example with 408, 500 or 503.

    Raised after `max_retries` retries. It has the attributes of `ServiceError`.
    """

    scope: ClassVar[Scope] = "request"


@dataclass(frozen=True)
class TextFailure:
    """A text that could not be embedded, as listed in `PartialFailureError.failures`.

    Attributes:
        index: The text's position in the caller's list.
        text: The text's first 80 characters.
        error: Why it failed.

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
        """Return the failure of a text, with only its first 80 characters."""
        return cls(index, text[:80], error)


class PartialFailureError(QwenEmbedError):
    """Some texts could not be embedded; the vectors of the others are in `result`.

    Attributes:
        result: What the call would have returned, one vector per text in input order. The vector
            of a failed text is `None` in lists and NaN in arrays. `None` for a stream, which has
            already yielded the other vectors.
        failures: A `TextFailure` with the error of each failed text, by index.

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
        """Return the error of a call on `count` texts; for a single text, its own error.

        Args:
            failures: One or more.
            result: The vectors of all texts, those of the failed ones marked, or `None`.
            count: The number of texts.
        """
        first = failures[0]
        if count == 1:
            return first.error
        others = "have already been yielded" if result is None else "are in `.result`"
        return cls(
            f"{len(failures)} of {count} texts could not be embedded: `.failures` lists them, and "
            f"the vectors of the others {others}. The first is texts[{first.index}]: {first.error}",
            result=result,
            failures=failures,
        )

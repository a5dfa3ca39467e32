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
            ├── AccessError                rights, arrears, used up free tier, overdue bills
            ├── ModelNotFoundError         the model
            ├── BatchSizeError             too many texts; learnt from, never raised to the user
            ├── DimensionRefusedError      the dimension
            ├── EncodingRefusedError       how numbers are printed; learnt from
            ├── TextRefusedError           something in the texts; halved until the text is known
            │   └── ModerationError        the service's content inspection
            ├── RateLimitError             throttled; retried
            └── ServerError                the service's own fault; retried

No message ever holds the API key. `PlainHttpWarning` and
`RolesLostWarning` are the only warnings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

Scope = Literal["request", "texts", "call"]
"""How far an error reaches: this request, so that it may be repeated; the texts that it carried, so
that they are told apart; or the whole call, since no other request would fare better."""


class PlainHttpWarning(UserWarning):
    """The key and the texts go to another machine unencrypted. Given once for each host."""


class RolesLostWarning(UserWarning):
    """Queries go out as documents do, since the protocol and the model tell them not apart."""


class QwenEmbedError(Exception):
    """Base of every exception that this package raises on purpose."""


class InputError(QwenEmbedError, ValueError):
    """Texts or an argument that cannot be embedded; found before anything was sent or paid for.

    Attributes:
        indices: Positions of the texts at fault in the list that was given.
    """

    def __init__(self, message: str, indices: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.indices = tuple(indices)


class ClosedError(QwenEmbedError, RuntimeError):
    """The object was closed; make a new one."""


class RequestError(QwenEmbedError):
    """One request failed.

    Attributes:
        scope: How far the error reaches; see `Scope`.
        hint: What to do about it, or `None`.
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
    """The service could not be reached, or the connection was lost before the whole answer came."""


class CertificateError(ConnectionFailedError):
    """The host's certificate could not be verified, so nothing was sent to it."""

    scope: ClassVar[Scope] = "call"


class RequestTimeoutError(RequestError, TimeoutError):
    """No whole answer came within `timeout` seconds, or no end of the call within its own."""


class InvalidResponseError(RequestError):
    """An answer that cannot be believed: wrong count, order or dimension, or not numbers.

    It was billed, and another would be as wrong, so it is not asked for again.
    """

    scope: ClassVar[Scope] = "call"


class MalformedResponseError(InvalidResponseError):
    """An answer that is not whole JSON: cut short on its way, or another server's page."""

    scope: ClassVar[Scope] = "request"


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?", ":", "。")) else f"{text}."


class ServiceError(RequestError):
    """The service answered with a refusal.

    Attributes:
        status_code: The HTTP status.
        code: The service's own code, such as `"InvalidApiKey"`; empty where it sent none.
        request_id: What the service's support asks for, or `None`.
        retry_after: Seconds after which the service wants to be asked again, or `None`.
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
    """The API key was not accepted. A key belongs to one region."""


class AccessError(ServiceError):
    """The account may not do this: rights, arrears, a used up free tier, an overdue bill."""


class ModelNotFoundError(ServiceError):
    """The service does not know the model, or the account does not have it."""


class BatchSizeError(ServiceError):
    """The request carried more texts than the service takes.

    Attributes:
        limit: The cap that the service named, or `None` where it named none.
    """

    scope: ClassVar[Scope] = "texts"

    def __init__(self, message: str, *, limit: int | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.limit = limit


class DimensionRefusedError(ServiceError):
    """The service refused the dimension, whatever the texts."""


class EncodingRefusedError(ServiceError):
    """The server does not know the encoding of numbers that was asked for.

    It is asked again for printed ones, so that users see this only where it refuses those too.
    """


class TextRefusedError(ServiceError):
    """The service refused the request for something in its texts, such as one that is too long."""

    scope: ClassVar[Scope] = "texts"


class ModerationError(TextRefusedError):
    """The service's content inspection refused a text."""


class RateLimitError(ServiceError):
    """The account sent too much too fast.

    Attributes:
        quota: What was used up: `requests` or `tokens`; or `burst` where the number of requests
            rose too quickly.
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
    """The service failed or was too busy."""

    scope: ClassVar[Scope] = "request"


@dataclass(frozen=True)
class TextFailure:
    """One text that could not be embedded.

    Attributes:
        index: The text's position in the list that was given.
        text: The text's first characters.
        error: Why.
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
        failures: The texts that failed, by index, each with its error.
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
        """Return the error for failures among `count` texts: the text's own where it is alone."""
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

"""Whether a failed request is retried, and when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qwen_embed.errors import RateLimitError, RequestError, ServiceError

_FIRST_WAIT = 0.5
_LONGEST_WAIT = 30.0
_PATIENCE = 15.0


@dataclass(frozen=True)
class Retry:
    """The request is sent again.

    Attributes:
        after: Seconds to wait first.
    """

    after: float


@dataclass(frozen=True)
class Fail:
    """The request has failed for good."""


@dataclass(frozen=True)
class RetryPolicy:
    """Retries one request, never a list, with full jitter, and honours `Retry-After`.

    Attributes:
        max_retries: Maximum retries of one request.
        random: Returns numbers from 0 to 1.
    """

    max_retries: int
    random: Callable[[], float]

    def next_step(
        self, error: RequestError, *, failures: int, throttled_for: float | None
    ) -> Retry | Fail:
        """Return what becomes of a request that failed.

        Args:
            error: Why it failed.
            failures: How often it has failed for another reason than being throttled.
            throttled_for: For how many seconds the account has been throttled without serving
                anything; `None` if it has served something since the request was sent.
        """
        if isinstance(error, RateLimitError):
            return self._when_throttled(error, throttled_for)
        wait = self.wait(error, failures)
        return Fail() if wait is None else Retry(wait)

    def _when_throttled(self, error: RateLimitError, throttled_for: float | None) -> Retry | Fail:
        # While the account serves others, a throttled request only has to wait for its turn.
        asked = error.retry_after or 0.0
        if throttled_for is None and not asked:
            return Retry(0.0)
        return Retry(asked) if self.outlasts(max(asked, throttled_for or 0.0)) else Fail()

    def outlasts(self, seconds: float) -> bool:
        """Return whether the policy waits so long while nothing is served.

        By default that is longer than a quota per minute takes to recover.
        """
        return seconds < _PATIENCE * self.max_retries

    def wait(self, error: RequestError, failures: int) -> float | None:
        """Return the seconds to wait before a retry, or `None` to give up.

        Args:
            error: Why the request failed.
            failures: How often it has failed, this time included.
        """
        if error.scope != "request" or failures > self.max_retries:
            return None
        longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0**failures)
        # Never at once: half of the wait is fixed, the other half spreads requests that failed
        # together.
        wait = longest * (0.5 + 0.5 * self.random()) / 2
        asked = error.retry_after if isinstance(error, ServiceError) else None
        if asked is None:
            return wait
        return asked + wait / 10 if self.outlasts(asked) else None

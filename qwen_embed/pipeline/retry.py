"""Whether a failed request is sent again, and when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qwen_embed.errors import RequestError, ServiceError

_FIRST_WAIT = 0.5
_LONGEST_WAIT = 30.0
_PATIENCE = 15.0


@dataclass(frozen=True)
class RetryPolicy:
    """Repeats one request, never a list, with full jitter and the service's `Retry-After`.

    Attributes:
        max_retries: The most repeats of one request.
        random: Returns numbers from 0 to 1.
    """

    max_retries: int
    random: Callable[[], float]

    def outlasts(self, seconds: float) -> bool:
        """Return whether so long a time in which nothing is served is waited for.

        By default it outlasts a quota that is given by the minute.
        """
        return seconds < _PATIENCE * self.max_retries

    def wait(self, error: RequestError, failures: int) -> float | None:
        """Return the seconds to wait before the request is sent again, or `None` to give up.

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

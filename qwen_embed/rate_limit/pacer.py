"""Spaces requests evenly."""

from __future__ import annotations

import math


class Pacer:
    """Spaces requests evenly, without bursts.

    Attributes:
        next_at: When the next request may be sent.
    """

    def __init__(self) -> None:
        self.next_at = -math.inf

    def spend(self, now: float, seconds: float) -> None:
        """Use the next slot and make it last some seconds.

        A request that is late by less than its slot does not delay the requests after it.
        """
        self.next_at = (self.next_at if now - self.next_at <= seconds else now) + seconds

    def extend(self, seconds: float) -> None:
        """Make the last slot longer, or shorter if negative."""
        self.next_at += seconds

    def delay_until(self, at: float) -> None:
        """Send nothing before a time."""
        self.next_at = max(self.next_at, at)

    def restart(self, at: float) -> None:
        """Forget the slots used so far and let the next request be sent at a time."""
        self.next_at = at

"""The pace that one quota of an account allows, learnt from what is served and what is refused.

A quota counts requests or tokens. Nothing says how large it is or how it is kept: as a bucket that
fills steadily, or by the second or the minute. What is certain is little, and all of it is used:

- A refusal means that the quota was used up when the request arrived.
- What was served between two refusals is at most what the quota gave in between.
- A pace at which a part of the requests was served allows about that part of it.

All is arithmetic over times that are passed in; nothing here waits.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

CAUTION = 0.995
"""The part of a told or published quota that is used: clocks and networks are not exact."""

# Found by search over simulated services; those of the tests are others.
_MARKS_KEPT_SECONDS = 30.0
_MOST_MARKS = 8
_BELOW_PROVEN = 0.985  # of what was served between two refusals
_BELOW_REFUSED = 0.97  # of the pace that was refused
_TOWARDS_REFUSED = 0.2  # where between the two the next pace lies
_PROVEN_AT_LEAST = 0.4  # of the pace that was refused, where nothing better is known
_SAME = (0.75, 1.33)
_GROWTH = 0.4  # a second, after the first refusal; a quarter of it after every further one
_GROWTH_LESS = 0.25
_LEAST_GROWTH = 0.003
_MOST_GROWTH = 0.3
_DOUBLING_SECONDS = 1.5  # of growth, as long as nothing is refused
_SLOW_REQUESTS = 30  # of growth at a low pace, where seconds would be too short
_CYCLE_REQUESTS = 20
_REMEMBERED = 1024
_SLOWEST_SECONDS = 10.0  # for one request


class Spacing:
    """Even spacing, without bursts.

    Attributes:
        next_at: When the next amount may be spent.
    """

    def __init__(self) -> None:
        self.next_at = -math.inf

    def spend(self, now: float, seconds: float) -> None:
        """Take a slot of so many seconds; a slot that was late does not delay those after it."""
        self.next_at = (self.next_at if now - self.next_at <= seconds else now) + seconds


@dataclass
class _Mark:
    """A moment when the quota was used up, and what was served of what was sent later."""

    sent_at: float
    served: float = 0.0


class Rate(Spacing):
    """The pace for one quota.

    After a refusal the pace lies between what was proven and what was refused. From there it grows:
    fast while little is known, slowly once refusals have come at the same pace again and again, and
    faster the longer nothing is refused, so that a quota which was raised is found.

    Args:
        pace: Amounts a second to begin with.
        now: Seconds of the clock.
        sureness: How often the pace has been found the same.
        unit: The amount of one request.
        ceiling: A pace never to be exceeded, or `None`.

    Attributes:
        pace: Amounts a second.
        ceiling: A pace never to be exceeded, or `None`.
        cut_at: When the pace was last lowered; what left before tells nothing new about it.
    """

    def __init__(
        self,
        pace: float,
        now: float,
        *,
        sureness: int = 1,
        unit: float = 1.0,
        ceiling: float | None = None,
    ) -> None:
        super().__init__()
        self.pace = max(pace, unit / _SLOWEST_SECONDS)
        self.ceiling = ceiling
        self.cut_at = -math.inf
        self._sureness = sureness
        self._unit = unit
        self._found = pace
        self._before = (sureness, pace)
        self._marks: deque[_Mark] = deque(maxlen=_MOST_MARKS)
        self._served: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)
        self._served_since_found = 0
        self._growing_since = now
        self._left_at: float | None = None
        self._smooth = False
        self._cycle = 0.0

    @property
    def unit(self) -> float:
        """The amount of one request, about."""
        return self._unit

    def leave(self, now: float, amount: float, *, limiting: bool) -> None:
        """Note that a request left.

        Args:
            now: When.
            amount: What it will cost.
            limiting: Whether this pace, and not the caller, decided when: only then may it grow.
        """
        if self._left_at is None:
            self._unit = amount
        else:
            self._unit += (amount - self._unit) / 20
            if limiting:
                self._grow(now, min(now - self._left_at, 1.0))
        self._left_at = now
        self.spend(now, amount / self.pace)

    def _grow(self, now: float, seconds: float) -> None:
        slot = self._unit / self.pace
        sure = min(1.0, (self._sureness - 1) / 3)
        scale = max(1.0, sure * _SLOW_REQUESTS * slot, 2 * slot, self._cycle)
        growth = max(_LEAST_GROWTH, _GROWTH * _GROWTH_LESS ** (self._sureness - 1))
        if self._smooth:
            growth = min(growth, 0.05)
        doublings = min(20.0, (now - self._growing_since) / _DOUBLING_SECONDS / scale)
        self.pace *= 1 + seconds * min(_MOST_GROWTH, growth * 2**doublings / scale)
        if self.ceiling is not None:
            self.pace = min(self.pace, self.ceiling)

    def correct(self, estimated: float, billed: float) -> None:
        """Make up for an amount that was not what was estimated."""
        self.next_at += (billed - estimated) / self.pace

    def serve(self, sent_at: float, amount: float) -> None:
        """Note that a request was served."""
        self._served.append((sent_at, amount))
        self._served_since_found += 1
        for mark in self._marks:
            if sent_at > mark.sent_at:
                mark.served += amount

    def refuse(self, sent_at: float, now: float) -> None:
        """Lower the pace for a refused request, unless it left before the pace was last lowered."""
        if sent_at <= self.cut_at:
            return
        served = self._served_since_found
        part_served = self.pace * (served + 1) / (served + 2)
        proven = min(self._proven(sent_at), self.pace)
        low = _BELOW_PROVEN * max(proven, _PROVEN_AT_LEAST * part_served)
        between = low + _TOWARDS_REFUSED * (part_served - low)
        self._find(max(_BELOW_PROVEN * proven, min(_BELOW_REFUSED * self.pace, between)))
        self.mark(sent_at, now)

    def _proven(self, sent_at: float) -> float:
        """Return the pace that was served since the quota was used up before: the quota's least."""
        kept = max(_MARKS_KEPT_SECONDS, 100 * self._unit / self.pace)
        return max(
            (
                (mark.served - self._unit) / (sent_at - mark.sent_at)
                for mark in self._marks
                if 0 < sent_at - mark.sent_at <= kept
            ),
            default=0.0,
        )

    def _find(self, pace: float) -> None:
        self._before = (self._sureness, self._found)
        same = _SAME[0] < pace / self._found < _SAME[1]
        self._sureness = min(self._sureness + 1, 12) if same else 1
        self.pace = self._found = max(pace, self._unit / _SLOWEST_SECONDS)

    def mark(self, sent_at: float, now: float) -> None:
        """Note that the quota was used up when a request left, and that the pace is new."""
        served = sum(amount for at, amount in self._served if at > sent_at)
        self._marks.append(_Mark(sent_at, served))
        self._begin(now)
        self.next_at = max(self.next_at, now + self._unit / self.pace)

    def _begin(self, now: float) -> None:
        self.cut_at = self._growing_since = now
        self._served_since_found = 0
        self._smooth = False

    def smooth(self, sent_at: float, now: float) -> None:
        """Halve the pace and let it grow slowly: the service wants less of a rise, not less."""
        if sent_at <= self.cut_at:
            return
        self.pace = max(self.pace / 2, self._unit / _SLOWEST_SECONDS)
        self._begin(now)
        self._smooth = True
        self.next_at = now + self._unit / self.pace

    def served_between(self, start: float, end: float) -> float:
        """Return what was served of what was sent after `start` until `end`."""
        return sum(amount for at, amount in self._served if start < at <= end)

    def reopen(
        self, sent_at: float, now: float, *, cycle: Cycle, refused_at: float, closed_at: float
    ) -> None:
        """Find the pace after a time in which nothing was served: the quota is given by periods.

        Args:
            sent_at: When the request left that was served again.
            now: Now.
            cycle: What was served since the quota was open before.
            refused_at: When the last request left that was refused.
            closed_at: When it was found that nothing is served.
        """
        seconds = sent_at - cycle.since
        if seconds < 1.0:
            pace = 0.7 * self.pace
        else:
            # Limits are by the minute and by the second too. The second ended between the last
            # refusal and now.
            a_second = (
                self.served_between(sent_at - 1, sent_at)
                - self._unit
                + self.served_between(refused_at - 1, refused_at)
            ) / 2
            pace = max(cycle.served / seconds, a_second, self._unit / seconds)
        self._sureness, self._found = self._before
        self._find(pace)
        enough = cycle.requests >= _CYCLE_REQUESTS
        self._sureness = max(self._sureness, 3) if enough else 1
        if self.ceiling is not None:
            self.pace = min(self.pace, self.ceiling)
        self._cycle = seconds / 4 if sent_at - closed_at > 3 else 0.0
        self._marks.clear()
        self._marks.append(_Mark(sent_at))
        self._begin(now)
        self._served_since_found = 1
        self.next_at = now + self._unit / self.pace


@dataclass
class Cycle:
    """What was served since a quota was last open after a time in which nothing was.

    Attributes:
        since: When the first of it left.
        requests: How many requests.
        served: The amount, in what the quota counts.
    """

    since: float
    requests: int
    served: float

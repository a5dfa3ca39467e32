"""When requests leave, with a clock that only the tests move."""

from __future__ import annotations

import asyncio

import pytest

from qwen_embed.limiter import ConcurrencyLimiter, Outcome

SERVED = Outcome("served")
OTHER = Outcome("other")


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def limiter(clock):
    return ConcurrencyLimiter(8, clock=clock, sleep=clock.sleep)


async def acquired(limiter, wanted):
    """Return the permits given at once, of so many wanted, and the tasks still waiting."""
    tasks = [asyncio.ensure_future(limiter.acquire()) for _ in range(wanted)]
    for _ in range(5):
        await asyncio.sleep(0)
    done = [task.result() for task in tasks if task.done()]
    waiting = [task for task in tasks if not task.done()]
    return done, waiting


async def end(waiting):
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_only_a_handful_leave_until_one_is_served(limiter):
    permits, waiting = await acquired(limiter, 20)
    assert len(permits) == 4

    limiter.release(permits[0], SERVED)
    for _ in range(5):
        await asyncio.sleep(0)

    assert sum(task.done() for task in waiting) == 8 - 3
    await end(waiting)


async def test_a_refusal_that_is_no_throttle_keeps_the_handful(limiter):
    permits, waiting = await acquired(limiter, 20)

    limiter.release(permits[0], OTHER)

    more, _ = await acquired(limiter, 1)
    assert more == []
    await end(waiting)


async def test_no_more_than_the_ceiling_are_ever_in_flight(limiter):
    limiter.release(await limiter.acquire(), SERVED)
    in_flight = most = 0

    async def work():
        nonlocal in_flight, most
        for _ in range(10):
            permit = await limiter.acquire()
            in_flight += 1
            most = max(most, in_flight)
            await asyncio.sleep(0)
            in_flight -= 1
            limiter.release(permit, SERVED)

    await asyncio.gather(*(work() for _ in range(30)))
    assert most == 8
    assert limiter.served == 301


async def test_a_throttle_lowers_the_bound_once_a_flight(limiter):
    limiter.release(await limiter.acquire(), SERVED)
    permits, _ = await acquired(limiter, 8)

    for permit in permits[:4]:
        limiter.release(permit, Outcome("throttled"))

    assert limiter.bound == 6


async def test_served_requests_raise_the_bound_again(limiter, clock):
    limiter.release(await limiter.acquire(), SERVED)
    permits, _ = await acquired(limiter, 8)
    limiter.release(permits[0], Outcome("throttled"))
    for permit in permits[1:]:
        limiter.release(permit, SERVED)

    for _ in range(20):
        limiter.release(await limiter.acquire(), SERVED)

    assert limiter.bound == 8


async def test_nothing_leaves_before_retry_after(limiter, clock):
    limiter.release(await limiter.acquire(), Outcome("throttled", retry_after=7.0))

    permit = await limiter.acquire()

    assert permit.given_at == pytest.approx(107.0)


async def test_a_cancelled_wait_gives_its_place_to_the_next(limiter):
    permits, waiting = await acquired(limiter, 6)
    assert len(waiting) == 2

    waiting[0].cancel()
    limiter.release(permits[0], OTHER)
    for _ in range(5):
        await asyncio.sleep(0)

    assert waiting[1].done()
    assert not waiting[1].cancelled()
    await end(waiting)


async def test_a_wait_cancelled_after_its_turn_came_passes_the_turn_on(limiter):
    permits, waiting = await acquired(limiter, 6)

    limiter.release(permits[0], OTHER)  # wakes the first
    waiting[0].cancel()  # before it ran
    for _ in range(5):
        await asyncio.sleep(0)

    assert waiting[1].done()
    assert not waiting[1].cancelled()
    await end(waiting)

"""When requests leave, with a clock and timers that only the tests move."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from types import SimpleNamespace

import pytest

from qwen_embed.config.settings import EmbeddingSettings
from qwen_embed.rate_limit.account import Account, Outcome
from qwen_embed.rate_limit.estimator import CAUTION
from qwen_embed.rate_limit.limiter import AccountLimiter, Gate
from qwen_embed.runtime.factory import build_limiter

SERVED = Outcome("served", tokens=10)
OTHER = Outcome("other")


class Time:
    """A clock that stands still until it is told to go on, and calls what is due then."""

    def __init__(self):
        self.now = 100.0
        self.timers = []

    def __call__(self):
        return self.now

    def call_later(self, seconds, call):
        timer = Timer(self.now + seconds, call)
        self.timers.append(timer)
        return timer

    async def go_on(self, seconds):
        end = self.now + seconds
        while True:
            await settle()
            due = [timer for timer in self.timers if not timer.cancelled and timer.at <= end]
            if not due:
                break
            first = min(due, key=lambda timer: timer.at)
            self.timers.remove(first)
            self.now = max(self.now, first.at)
            first.call()
        self.now = end
        await settle()


class Timer:
    def __init__(self, at, call):
        self.at = at
        self.call = call
        self.cancelled = False

    def cancel(self):
        self.cancelled = True


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def gate(time):
    return Gate(Account(), clock=time, call_later=time.call_later)


@pytest.fixture
def limiter(gate):
    return AccountLimiter(gate, max_concurrency=8)


def wait_for(limiter, wanted, **options):
    return [asyncio.ensure_future(limiter.acquire(10.0, **options)) for _ in range(wanted)]


def permits(tasks):
    return [task.result() for task in tasks if task.done() and not task.cancelled()]


async def end(tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def warm(limiter, time, latency=0.1):
    permit = await limiter.acquire(10.0)
    time.now += latency
    limiter.release(permit, SERVED)


async def test_requests_leave_one_by_one_and_only_a_handful_until_one_is_served(limiter, time):
    tasks = wait_for(limiter, 20)
    await settle()
    assert len(permits(tasks)) == 1

    await time.go_on(10.0)

    assert len(permits(tasks)) == 4
    await end(tasks)


async def test_a_told_quota_spaces_requests_evenly(gate, time):
    limiter = AccountLimiter(gate, max_concurrency=100, told={"requests": 10.0})
    await warm(limiter, time)
    tasks = wait_for(limiter, 30)

    await time.go_on(1.0)

    sent = [permit.sent_at for permit in permits(tasks)]
    gaps = [later - earlier for earlier, later in pairwise(sent)]
    assert len(sent) == len(gaps) + 1
    assert all(gap == pytest.approx(1 / 9.95, abs=2e-3) for gap in gaps)
    await end(tasks)


async def test_a_told_quota_of_tokens_spaces_requests_by_their_tokens(gate, time):
    limiter = AccountLimiter(gate, max_concurrency=100, told={"tokens": 100.0})
    await warm(limiter, time)
    tasks = wait_for(limiter, 8)

    await time.go_on(0.5)

    assert len(permits(tasks)) == 4
    await end(tasks)


async def test_no_more_than_the_ceiling_are_ever_in_flight(limiter, time):
    for _ in range(60):
        await warm(limiter, time)
    in_flight = most = 0

    async def work():
        nonlocal in_flight, most
        for _ in range(10):
            permit = await limiter.acquire(10.0)
            in_flight += 1
            most = max(most, in_flight)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            in_flight -= 1
            limiter.release(permit, SERVED)

    working = asyncio.gather(*(work() for _ in range(30)))
    while not working.done():
        await time.go_on(0.01)
    assert most == 8
    assert limiter.served == 360


async def test_a_cancelled_wait_gives_its_place_to_the_next(limiter, time):
    first = wait_for(limiter, 4)
    await time.go_on(1.0)
    waiting = wait_for(limiter, 2)
    await settle()

    waiting[0].cancel()
    limiter.release(first[0].result(), OTHER)
    await time.go_on(1.0)

    assert permits(waiting[1:])
    await end(waiting)


async def test_a_wait_cancelled_after_its_turn_came_passes_the_turn_on(limiter, time):
    first = wait_for(limiter, 4)
    await time.go_on(1.0)
    waiting = wait_for(limiter, 2)
    await settle()

    limiter.release(first[0].result(), OTHER)  # wakes the first that waits
    waiting[0].cancel()  # before it ran
    await time.go_on(1.0)

    assert permits(waiting[1:])
    await end(waiting)


async def test_a_refused_request_goes_before_the_others_of_its_object(limiter, time):
    first = wait_for(limiter, 4)
    await time.go_on(1.0)
    waiting = wait_for(limiter, 2)
    await settle()
    again = wait_for(limiter, 1, again=True)
    await settle()

    limiter.release(first[0].result(), OTHER)
    await time.go_on(1.0)

    assert permits(again)
    assert not permits(waiting)
    await end(waiting)


async def test_objects_of_one_account_take_turns(gate, time):
    bulk, query = (AccountLimiter(gate, max_concurrency=50) for _ in range(2))
    busy = wait_for(bulk, 40)
    await time.go_on(1.0)

    asked = wait_for(query, 1)
    await settle()
    bulk.release(busy[0].result(), OTHER)
    await time.go_on(1.0)
    bulk.release(busy[1].result(), OTHER)
    await time.go_on(1.0)

    assert permits(asked)
    await end(busy + asked)


async def test_objects_of_one_account_share_what_it_allows(gate, time):
    one, other = (AccountLimiter(gate, max_concurrency=8) for _ in range(2))
    tasks = wait_for(one, 3) + wait_for(other, 3)

    await time.go_on(5.0)

    assert len(permits(tasks)) == 4
    assert one.served == other.served == 0
    await end(tasks)


async def test_each_object_keeps_to_the_quota_it_was_told(gate, time):
    slow = AccountLimiter(gate, max_concurrency=50, told={"requests": 1.0})
    fast = AccountLimiter(gate, max_concurrency=50, told={"requests": 20.0})
    await warm(fast, time)
    of_slow, of_fast = wait_for(slow, 5), wait_for(fast, 50)

    for _ in range(20):
        await time.go_on(0.1)
        for limiter, tasks in ((slow, of_slow), (fast, of_fast)):
            for permit in permits(tasks):
                limiter.release(permit, SERVED)
            tasks[:] = [task for task in tasks if not task.done()]

    assert 5 - len(of_slow) == 2
    assert 30 <= 50 - len(of_fast) <= 39
    await end(of_slow + of_fast)


async def test_a_limiter_of_the_users_own_is_asked_first(gate):
    asked = []

    async def admit(tokens):
        asked.append(tokens)

    limiter = AccountLimiter(gate, max_concurrency=8, admit=admit)

    await limiter.acquire(12.4)

    assert asked == [12]


async def test_limits_say_what_is_known(gate, time):
    limiter = AccountLimiter(gate, max_concurrency=8)
    assert limiter.limits.requests_per_minute is None

    told = AccountLimiter(gate, max_concurrency=8, told={"requests": 5.0, "tokens": 50.0})
    assert told.limits.requests_per_minute == pytest.approx(300 * CAUTION)
    assert told.limits.tokens_per_minute == pytest.approx(3000 * CAUTION)
    assert told.limits.concurrency == 4


@pytest.mark.parametrize(
    ("options", "requests_per_second"),
    [
        ({"region": "cn-beijing"}, 30),
        ({"region": "intl", "model": "text-embedding-v3"}, 100),
        ({"region": "cn-beijing", "model": "a-model-of-tomorrow"}, None),
        ({"base_url": "http://127.0.0.1:1/api/v1", "region": "cn-beijing"}, None),
    ],
    ids=["beijing", "singapore", "unknown model", "another host"],
)
def test_published_limits_count_for_the_services_own_hosts_alone(
    options, requests_per_second, time
):
    runtime = SimpleNamespace(shared={}, call_later=time.call_later)

    build_limiter(EmbeddingSettings(api_key="sk-1", **options), runtime, None)

    [gate] = runtime.shared.values()
    gate.account.leave(time.now, 10.0)
    expected = requests_per_second and CAUTION * requests_per_second
    assert gate.account.known_pace("requests") == pytest.approx(expected)

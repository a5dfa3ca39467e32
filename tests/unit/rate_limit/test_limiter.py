"""When requests are sent, with a clock and timers that only the tests advance."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from types import SimpleNamespace

import pytest

from qwen_embed.config.settings import EmbeddingSettings
from qwen_embed.rate_limit.account import Account, Outcome
from qwen_embed.rate_limit.limiter import Limiter, SharedLimiter
from qwen_embed.rate_limit.tuning import TUNING
from qwen_embed.runtime.factory import build_limiter

SERVED = Outcome("served", tokens=10)
OTHER = Outcome("other")


class Time:
    """A clock that only the test advances; it then runs the timers that are due."""

    def __init__(self):
        self.now = 100.0
        self.timers = []

    def __call__(self):
        return self.now

    def call_later(self, seconds, call):
        timer = Timer(self.now + seconds, call)
        self.timers.append(timer)
        return timer

    async def advance(self, seconds):
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
def shared(time):
    return SharedLimiter(Account(), clock=time, call_later=time.call_later)


@pytest.fixture
def limiter(shared):
    return Limiter(shared, max_concurrency=8)


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


async def test_requests_are_sent_one_by_one_and_only_four_until_one_is_served(limiter, time):
    tasks = wait_for(limiter, 20)
    await settle()
    assert len(permits(tasks)) == 1

    await time.advance(10.0)

    assert len(permits(tasks)) == 4
    await end(tasks)


async def test_a_configured_quota_spaces_requests_evenly(shared, time):
    limiter = Limiter(shared, max_concurrency=100, configured={"requests": 10.0})
    await warm(limiter, time)
    tasks = wait_for(limiter, 30)

    await time.advance(1.0)

    sent = [permit.sent_at for permit in permits(tasks)]
    gaps = [later - earlier for earlier, later in pairwise(sent)]
    assert len(sent) == len(gaps) + 1
    assert all(gap == pytest.approx(1 / 9.95, abs=2e-3) for gap in gaps)
    await end(tasks)


async def test_a_configured_quota_of_tokens_spaces_requests_by_their_tokens(shared, time):
    limiter = Limiter(shared, max_concurrency=100, configured={"tokens": 100.0})
    await warm(limiter, time)
    tasks = wait_for(limiter, 8)

    await time.advance(0.5)

    assert len(permits(tasks)) == 4
    await end(tasks)


async def test_max_concurrency_is_never_exceeded(limiter, time):
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
        await time.advance(0.01)
    assert most == 8
    assert limiter.served == 360


async def test_a_cancelled_request_lets_the_next_be_sent(limiter, time):
    first = wait_for(limiter, 4)
    await time.advance(1.0)
    waiting = wait_for(limiter, 2)
    await settle()

    waiting[0].cancel()
    limiter.release(first[0].result(), OTHER)
    await time.advance(1.0)

    assert permits(waiting[1:])
    await end(waiting)


async def test_a_request_cancelled_with_its_permit_granted_passes_it_on(limiter, time):
    first = wait_for(limiter, 4)
    await time.advance(1.0)
    waiting = wait_for(limiter, 2)
    await settle()

    limiter.release(first[0].result(), OTHER)  # wakes the first that waits
    waiting[0].cancel()  # before it ran
    await time.advance(1.0)

    assert permits(waiting[1:])
    await end(waiting)


async def test_a_retry_is_sent_before_the_other_requests_of_its_embedder(limiter, time):
    first = wait_for(limiter, 4)
    await time.advance(1.0)
    waiting = wait_for(limiter, 2)
    await settle()
    again = wait_for(limiter, 1, retry=True)
    await settle()

    limiter.release(first[0].result(), OTHER)
    await time.advance(1.0)

    assert permits(again)
    assert not permits(waiting)
    await end(waiting)


async def test_embedders_of_one_account_take_turns(shared, time):
    bulk, query = (Limiter(shared, max_concurrency=50) for _ in range(2))
    busy = wait_for(bulk, 40)
    await time.advance(1.0)

    asked = wait_for(query, 1)
    await settle()
    bulk.release(busy[0].result(), OTHER)
    await time.advance(1.0)
    bulk.release(busy[1].result(), OTHER)
    await time.advance(1.0)

    assert permits(asked)
    await end(busy + asked)


async def test_embedders_of_one_account_share_its_quota(shared, time):
    one, other = (Limiter(shared, max_concurrency=8) for _ in range(2))
    tasks = wait_for(one, 3) + wait_for(other, 3)

    await time.advance(5.0)

    assert len(permits(tasks)) == 4
    assert one.served == other.served == 0
    await end(tasks)


async def test_each_embedder_keeps_to_its_configured_quota(shared, time):
    slow = Limiter(shared, max_concurrency=50, configured={"requests": 1.0})
    fast = Limiter(shared, max_concurrency=50, configured={"requests": 20.0})
    await warm(fast, time)
    of_slow, of_fast = wait_for(slow, 5), wait_for(fast, 50)

    for _ in range(20):
        await time.advance(0.1)
        for limiter, tasks in ((slow, of_slow), (fast, of_fast)):
            for permit in permits(tasks):
                limiter.release(permit, SERVED)
            tasks[:] = [task for task in tasks if not task.done()]

    assert 5 - len(of_slow) == 2
    assert 30 <= 50 - len(of_fast) <= 39
    await end(of_slow + of_fast)


async def test_the_users_own_rate_limiter_is_awaited_first(shared):
    asked = []

    async def admit(tokens):
        asked.append(tokens)

    limiter = Limiter(shared, max_concurrency=8, admit=admit)

    await limiter.acquire(12.4)

    assert asked == [12]


async def test_limits_are_those_configured(shared, time):
    limiter = Limiter(shared, max_concurrency=8)
    assert limiter.limits.requests_per_minute is None

    configured = Limiter(shared, max_concurrency=8, configured={"requests": 5.0, "tokens": 50.0})
    assert configured.limits.requests_per_minute == pytest.approx(300 * TUNING.safety_margin)
    assert configured.limits.tokens_per_minute == pytest.approx(3000 * TUNING.safety_margin)
    assert configured.limits.concurrency == 4


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
def test_published_limits_apply_to_hosts_of_the_service_only(options, requests_per_second, time):
    runtime = SimpleNamespace(shared={}, call_later=time.call_later)

    build_limiter(EmbeddingSettings(api_key="sk-1", **options), runtime, None)

    [shared] = runtime.shared.values()
    shared.account.grant(time.now, 10.0)
    expected = requests_per_second and TUNING.safety_margin * requests_per_second
    assert shared.account.known_pace("requests") == pytest.approx(expected)

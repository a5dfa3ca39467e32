"""What an account's quotas are found to be, in simulated time, on services of many kinds."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.simulation import Bucket, Client, Run, Window
from qwen_embed.rate_limit.account import COLD_START, Account, Outcome
from qwen_embed.rate_limit.estimator import CAUTION


def told(requests=None, tokens=None):
    account = Account()
    account.tell("requests", requests, 0.0)
    account.tell("tokens", tokens, 0.0)
    return account


SERVICES = {
    "a shallow bucket": lambda rate: Bucket(rate, 2),
    "a bucket of a second": lambda rate: Bucket(rate, max(2, rate)),
    "refusals that cost": lambda rate: Bucket(rate, 2, refusals_cost=True),
    "windows of a second": lambda rate: Window(rate, 1.0, 0.3),
    "windows of a minute": lambda rate: Window(rate, 60.0, 0.3),
}


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
@pytest.mark.parametrize("rate", [1, 3, 10, 30, 100, 300])
def test_a_told_quota_is_used_and_nothing_is_refused(rate, service):
    run = Run(
        {"requests": service(rate)}, [Client(told(rate), max_concurrency=128)], max(20, 100 / rate)
    )

    assert run.used() >= 0.97
    assert run.refused() <= 0.005


@pytest.mark.parametrize("depth", [2, 5, 15, 30, 50, 100])
@pytest.mark.parametrize("rate", [30, 100])
def test_an_unknown_quota_is_found_within_a_cold_call(rate, depth):
    run = Run({"requests": Bucket(rate, min(depth, rate * 2))}, [Client()], 20)

    assert run.used() >= 0.93
    assert run.refused() <= 0.03


@pytest.mark.parametrize("depth", [2, 5, 30])
@pytest.mark.parametrize("rate", [30, 100])
def test_the_second_call_knows_what_the_first_found(rate, depth):
    run = Run({"requests": Bucket(rate, depth)}, [Client()], 40)

    assert run.used(since=20) >= 0.97
    assert run.refused(since=20) <= 0.015


@pytest.mark.parametrize("depth", [2, 30])
def test_a_quota_that_halves_and_doubles_again_is_followed(depth):
    service = Bucket(30, depth)

    def set_rate(rate):
        service.per_second = rate

    run = Run(
        {"requests": service},
        [Client()],
        85,
        changes=[(20, lambda: set_rate(15)), (40, lambda: set_rate(30))],
    )

    def served(start, end):
        return sum(start < at <= end for at in run.served_at)

    def refused(start, end):
        return sum(start < at <= end for at in run.refused_at)

    assert served(25, 40) >= 0.93 * 15 * 15
    assert refused(25, 40) <= 0.03 * 15 * 15
    assert served(60, 85) >= 0.95 * 30 * 25


@pytest.mark.parametrize("rate", [1, 4, 12, 60, 200])
def test_every_kind_of_quota_is_put_to_use(rate):
    for service in SERVICES.values():
        run = Run({"requests": service(rate)}, [Client(max_concurrency=64)], max(60, 200 / rate))

        assert run.used() >= 0.80
        assert run.refused() <= 0.16


@pytest.mark.parametrize("rate", [20_000, 200_000])
def test_tokens_are_kept_to_when_they_are_what_is_short(rate):
    def tokens(chance):
        return chance.choice([300, 600, 1500, 2500])

    quotas = {"requests": Bucket(100, 100), "tokens": Bucket(rate, rate)}
    unknown = Run(quotas, [Client()], 20, tokens=tokens)
    quotas = {"requests": Bucket(100, 100), "tokens": Bucket(rate, rate)}
    known = Run(quotas, [Client(told(tokens=rate))], 20, tokens=tokens)

    possible = min(rate, 100 * 1225) * 20
    assert unknown.served_tokens >= 0.93 * possible
    assert unknown.refused() <= 0.04
    assert known.served_tokens >= 0.93 * possible


def test_processes_on_one_account_share_it():
    clients = [Client() for _ in range(4)]

    run = Run({"requests": Bucket(60, 60)}, clients, 60)

    assert run.used() >= 0.95
    assert run.refused() <= 0.05
    assert min(client.account.served for client in clients) >= 0.02 * 60 * 60


def test_a_published_quota_is_where_it_begins():
    run = Run({"requests": Bucket(30, 2)}, [Client(Account({"requests": 30.0}))], 20)

    assert run.used() >= 0.95
    assert run.refused() <= 0.02
    assert sum(at < 1.0 for at in run.served_at) >= 25


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    rate=st.floats(2, 300),
    depth=st.floats(0.1, 1.5),
    latency=st.floats(0.02, 0.6),
    costs=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_no_bucket_starves_a_client_nor_is_stormed(rate, depth, latency, costs, seed):
    service = Bucket(rate, max(2.0, depth * rate), refusals_cost=costs)

    run = Run({"requests": service}, [Client()], max(30, 100 / rate), latency=latency, seed=seed)

    possible = min(rate, 32 / latency)
    assert run.used(quota=possible) >= 0.35
    assert run.refused() <= 0.35


def test_refusals_of_a_rise_slow_an_account_only_so_far():
    account = Account()
    now = 0.0
    for kind in ["served", "requests", "served", "requests", "requests", *["burst"] * 12]:
        now = max(now, account.next_at(now))
        account.answer(account.leave(now, 100.0), Outcome(kind, tokens=100), now + 0.1)
        now += 0.1

    assert account.next_at(now) - now <= 11


def test_a_quota_that_was_told_need_not_be_felt_for():
    told, unknown = Account(), Account()
    told.tell("requests", 30.0, 0.0)

    assert (told.bound, unknown.bound) == (25, 4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["served", "requests", "tokens", "burst", "other"]), max_size=80))
def test_whatever_is_answered_the_next_request_may_leave_sometime(kinds):
    account = Account()
    now = 0.0
    for kind in kinds:
        due = account.next_at(now)
        assert due < math.inf
        now = max(now, due)
        permit = account.leave(now, 100.0)
        account.answer(permit, Outcome(kind, tokens=100), now + 0.1)
        now += 0.1

    assert account.in_flight == 0
    assert account.next_at(now) - now <= 70


def flight(account, now, count):
    permits = []
    for _ in range(count):
        now = max(now, account.next_at(now))
        permits.append(account.leave(now, 1.0))
    return now, permits


def test_only_a_handful_leave_until_one_is_served():
    account = Account()
    now, permits = flight(account, 0.0, COLD_START)
    assert account.next_at(now) == math.inf

    account.answer(permits[0], Outcome("served"), now + 0.1)

    assert account.next_at(now + 0.1) < math.inf


def test_a_long_retry_after_holds_all_back_and_a_short_one_only_its_request():
    for retry_after, held in ((30.0, True), (1.0, False)):
        account = told(requests=10.0)
        now, (permit,) = flight(account, 0.0, 1)
        account.answer(permit, Outcome("requests", retry_after=retry_after), now + 0.1)

        assert (account.next_at(now + 0.1) >= now + 0.1 + retry_after) == held


def test_a_burst_refusal_halves_the_pace_and_lets_it_rise_slowly():
    account = told(requests=100.0)
    now, permits = flight(account, 0.0, 1)
    account.answer(permits[0], Outcome("served"), now + 0.1)
    before = account.known_pace("requests")
    now, permits = flight(account, now + 0.1, 1)

    account.answer(permits[0], Outcome("burst"), now + 0.1)

    assert account.known_pace("requests") == pytest.approx(before / 2)
    now, permits = flight(account, now + 0.1, 8)
    assert account.known_pace("requests") < before * 0.6


def test_concurrency_is_what_pace_and_latency_need():
    account = told(requests=30.0)
    now, permits = flight(account, 0.0, 1)
    account.answer(permits[0], Outcome("served"), now + 0.1)

    assert account.bound == math.ceil(1.5 * 30 * CAUTION * 0.1) + 2


def test_after_four_refusals_in_a_row_one_request_at_a_time_asks():
    account = told(requests=100.0)
    now, permits = flight(account, 0.0, 4)
    for permit in permits:
        account.answer(permit, Outcome("requests"), now + 0.1)

    now, (probe,) = flight(account, now + 0.1, 1)
    assert probe.probe
    assert account.next_at(now) == math.inf
    account.answer(probe, Outcome("requests"), now + 0.1)
    first_wait = account.next_at(now + 0.1) - (now + 0.1)
    now, (probe,) = flight(account, now + 0.1, 1)
    account.answer(probe, Outcome("requests"), now + 0.1)
    assert account.next_at(now + 0.1) - (now + 0.1) == pytest.approx(2 * first_wait)

    now, (probe,) = flight(account, now + 0.1, 1)
    account.answer(probe, Outcome("served"), now + 0.1)
    now, permits = flight(account, now + 0.1, 1)
    assert not permits[0].probe


def test_estimates_of_tokens_are_corrected_by_what_was_billed():
    account = Account()
    now, permits = flight(account, 0.0, 4)
    for permit in permits:
        permit.tokens = 150.0
        account.answer(permit, Outcome("served", tokens=100), now + 0.1)

    assert account.expected_tokens(300) == pytest.approx(200)


def test_what_is_served_while_the_quota_is_short_is_measured_from_the_first_refusal():
    account = Account()
    now, permits = flight(account, 0.0, 1)
    assert account.starved_for(now) == 0.0
    account.answer(permits[0], Outcome("requests"), 1.0)

    assert account.starved_for(6.0) == pytest.approx(5.0)
    _, permits = flight(account, 6.0, 1)
    account.answer(permits[0], Outcome("served"), 7.0)
    assert account.starved_for(9.0) == 0.0


def test_random_walks_of_a_quota_are_survived():
    chance = random.Random(5)  # noqa: S311 -- no secret
    service = Bucket(30, 30)

    def change():
        service.per_second = chance.choice([5, 15, 30, 60, 120])

    run = Run(
        {"requests": service}, [Client()], 120, changes=[(t, change) for t in range(0, 120, 15)]
    )

    assert len(run.served_at) > 1000
    assert run.refused() <= 0.12

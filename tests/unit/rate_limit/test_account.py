"""Quotas configured and discovered, in simulated time, on services of many kinds."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.simulation import Bucket, Client, Run, Window
from qwen_embed.rate_limit.account import Account, Measuring, Outage, Outcome, Paced, SlowStart
from qwen_embed.rate_limit.tuning import TUNING


def configured(requests=None, tokens=None):
    account = Account()
    account.configure("requests", requests, 0.0)
    account.configure("tokens", tokens, 0.0)
    return account


def next_at(account, now):
    account.record_waiting(now)
    return account.next_at(now)


SERVICES = {
    "a shallow bucket": lambda rate: Bucket(rate, 2),
    "a bucket of a second": lambda rate: Bucket(rate, max(2, rate)),
    "throttled requests that cost": lambda rate: Bucket(rate, 2, throttling_costs=True),
    "windows of a second": lambda rate: Window(rate, 1.0, 0.3),
    "windows of a minute": lambda rate: Window(rate, 60.0, 0.3),
}


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
@pytest.mark.parametrize("rate", [1, 3, 10, 30, 100, 300])
def test_a_configured_quota_is_used_without_throttling(rate, service):
    run = Run(
        {"requests": service(rate)},
        [Client(configured(rate), max_concurrency=128)],
        max(20, 100 / rate),
    )

    assert run.used() >= 0.97
    assert run.throttled() <= 0.005


@pytest.mark.parametrize("depth", [2, 5, 15, 30, 50, 100])
@pytest.mark.parametrize("rate", [30, 100])
def test_an_unknown_quota_is_discovered_within_the_first_call(rate, depth):
    run = Run({"requests": Bucket(rate, min(depth, rate * 2))}, [Client()], 20)

    assert run.used() >= 0.93
    assert run.throttled() <= 0.03


@pytest.mark.parametrize("depth", [2, 5, 30])
@pytest.mark.parametrize("rate", [30, 100])
def test_the_second_call_uses_the_quota_that_the_first_discovered(rate, depth):
    run = Run({"requests": Bucket(rate, depth)}, [Client()], 40)

    assert run.used(since=20) >= 0.97
    assert run.throttled(since=20) <= 0.015


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

    def throttled(start, end):
        return sum(start < at <= end for at in run.throttled_at)

    assert served(25, 40) >= 0.93 * 15 * 15
    assert throttled(25, 40) <= 0.03 * 15 * 15
    assert served(60, 85) >= 0.95 * 30 * 25


@pytest.mark.parametrize("rate", [1, 4, 12, 60, 200])
def test_every_kind_of_quota_is_used(rate):
    for service in SERVICES.values():
        run = Run({"requests": service(rate)}, [Client(max_concurrency=64)], max(60, 200 / rate))

        assert run.used() >= 0.80
        assert run.throttled() <= 0.16


@pytest.mark.parametrize("rate", [20_000, 200_000])
def test_a_quota_of_tokens_is_used_without_exceeding_it(rate):
    def tokens(chance):
        return chance.choice([300, 600, 1500, 2500])

    quotas = {"requests": Bucket(100, 100), "tokens": Bucket(rate, rate)}
    unknown = Run(quotas, [Client()], 20, tokens=tokens)
    quotas = {"requests": Bucket(100, 100), "tokens": Bucket(rate, rate)}
    known = Run(quotas, [Client(configured(tokens=rate))], 20, tokens=tokens)

    possible = min(rate, 100 * 1225) * 20
    assert unknown.served_tokens >= 0.93 * possible
    assert unknown.throttled() <= 0.04
    assert known.served_tokens >= 0.93 * possible


def test_processes_share_the_quota_of_their_account():
    clients = [Client() for _ in range(4)]

    run = Run({"requests": Bucket(60, 60)}, clients, 60)

    assert run.used() >= 0.95
    assert run.throttled() <= 0.05
    assert min(client.account.served for client in clients) >= 0.02 * 60 * 60


def test_the_pace_starts_from_a_published_quota():
    run = Run({"requests": Bucket(30, 2)}, [Client(Account({"requests": 30.0}))], 20)

    assert run.used() >= 0.95
    assert run.throttled() <= 0.02
    assert sum(at < 1.0 for at in run.served_at) >= 25


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    rate=st.floats(2, 300),
    depth=st.floats(0.1, 1.5),
    latency=st.floats(0.02, 0.6),
    costs=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_bucket_is_used_without_excessive_throttling(rate, depth, latency, costs, seed):
    service = Bucket(rate, max(2.0, depth * rate), throttling_costs=costs)

    run = Run({"requests": service}, [Client()], max(30, 100 / rate), latency=latency, seed=seed)

    possible = min(rate, 32 / latency)
    assert run.used(quota=possible) >= 0.35
    assert run.throttled() <= 0.35


def test_repeated_burst_throttling_has_a_lowest_pace():
    account = Account()
    now = 0.0
    for kind in ["served", "requests", "served", "requests", "requests", *["burst"] * 12]:
        now = max(now, next_at(account, now))
        account.record_outcome(account.grant(now, 100.0), Outcome(kind, tokens=100), now + 0.1)
        now += 0.1

    assert next_at(account, now) - now <= 11


def test_a_configured_quota_skips_slow_start():
    unknown = Account()

    assert (configured(requests=30.0).concurrency, unknown.concurrency) == (25, 4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["served", "requests", "tokens", "burst", "other"]), max_size=80))
def test_the_next_request_is_sent_eventually_whatever_the_outcomes(kinds):
    account = Account()
    now = 0.0
    for kind in kinds:
        due = next_at(account, now)
        assert due < math.inf
        now = max(now, due)
        permit = account.grant(now, 100.0)
        account.record_outcome(permit, Outcome(kind, tokens=100), now + 0.1)
        now += 0.1

    assert account.in_flight == 0
    assert next_at(account, now) - now <= 70


def send(account, now, count):
    permits = []
    for _ in range(count):
        now = max(now, next_at(account, now))
        permits.append(account.grant(now, 1.0))
    return now, permits


def test_only_four_requests_are_sent_until_one_is_served():
    account = Account()
    now, permits = send(account, 0.0, TUNING.initial_concurrency)
    assert next_at(account, now) == math.inf

    account.record_outcome(permits[0], Outcome("served"), now + 0.1)

    assert next_at(account, now + 0.1) < math.inf


def test_a_long_retry_after_delays_all_requests_and_a_short_one_only_its_own():
    for retry_after, delayed in ((30.0, True), (1.0, False)):
        account = configured(requests=10.0)
        now, (permit,) = send(account, 0.0, 1)
        account.record_outcome(permit, Outcome("requests", retry_after=retry_after), now + 0.1)

        assert (next_at(account, now + 0.1) >= now + 0.1 + retry_after) == delayed


def test_throttling_for_a_burst_halves_the_pace_and_slows_its_growth():
    account = configured(requests=100.0)
    now, permits = send(account, 0.0, 1)
    account.record_outcome(permits[0], Outcome("served"), now + 0.1)
    before = account.known_pace("requests")
    now, permits = send(account, now + 0.1, 1)

    account.record_outcome(permits[0], Outcome("burst"), now + 0.1)

    assert account.known_pace("requests") == pytest.approx(before / 2)
    now, permits = send(account, now + 0.1, 8)
    assert account.known_pace("requests") < before * 0.6


def test_concurrency_follows_from_pace_and_latency():
    account = configured(requests=30.0)
    now, permits = send(account, 0.0, 1)
    account.record_outcome(permits[0], Outcome("served"), now + 0.1)

    assert account.concurrency == math.ceil(1.5 * 30 * TUNING.safety_margin * 0.1) + 2


def test_after_four_429s_in_a_row_one_request_at_a_time_probes():
    account = configured(requests=100.0)
    now, permits = send(account, 0.0, 4)
    for permit in permits:
        account.record_outcome(permit, Outcome("requests"), now + 0.1)

    now, (probe,) = send(account, now + 0.1, 1)
    assert probe.probe
    assert next_at(account, now) == math.inf
    account.record_outcome(probe, Outcome("requests"), now + 0.1)
    first_wait = next_at(account, now + 0.1) - (now + 0.1)
    now, (probe,) = send(account, now + 0.1, 1)
    account.record_outcome(probe, Outcome("requests"), now + 0.1)
    assert next_at(account, now + 0.1) - (now + 0.1) == pytest.approx(2 * first_wait)

    now, (probe,) = send(account, now + 0.1, 1)
    account.record_outcome(probe, Outcome("served"), now + 0.1)
    now, permits = send(account, now + 0.1, 1)
    assert not permits[0].probe


def test_token_estimates_are_scaled_by_what_was_billed():
    account = Account()
    now, permits = send(account, 0.0, 4)
    for permit in permits:
        permit.tokens = 150.0
        account.record_outcome(permit, Outcome("served", tokens=100), now + 0.1)

    assert account.expected_tokens(300) == pytest.approx(200)


def test_throttling_is_timed_from_the_first_429_until_a_request_is_served():
    account = Account()
    now, permits = send(account, 0.0, 1)
    assert account.throttled_for(now) == 0.0
    account.record_outcome(permits[0], Outcome("requests"), 1.0)

    assert account.throttled_for(6.0) == pytest.approx(5.0)
    _, permits = send(account, 6.0, 1)
    account.record_outcome(permits[0], Outcome("served"), 7.0)
    assert account.throttled_for(9.0) == 0.0


def test_a_quota_that_changes_at_random_is_followed():
    chance = random.Random(5)  # noqa: S311 -- no secret
    service = Bucket(30, 30)

    def change():
        service.per_second = chance.choice([5, 15, 30, 60, 120])

    run = Run(
        {"requests": service}, [Client()], 120, changes=[(t, change) for t in range(0, 120, 15)]
    )

    assert len(run.served_at) > 1000
    assert run.throttled() <= 0.12


def end(account, permits, kind, now):
    for permit in permits:
        account.record_outcome(permit, Outcome(kind, tokens=100), now)


def warmed():
    """Return an account in slow start that has served four requests, and the time."""
    account = Account()
    now, permits = send(account, 0.0, 4)
    end(account, permits, "served", now + 0.1)
    return account, now + 0.1


def in_outage():
    account = configured(requests=100.0)
    now, permits = send(account, 0.0, 4)
    end(account, permits, "requests", now + 0.1)
    return account, now + 0.1


def test_an_account_begins_in_slow_start():
    assert Account().state == SlowStart()


def test_a_configured_quota_ends_slow_start():
    assert configured(requests=10.0).state == Paced()


def test_a_quota_of_tokens_alone_does_not_end_slow_start():
    assert configured(tokens=1000.0).state == SlowStart()


def test_a_published_quota_ends_slow_start_with_the_first_request():
    account = Account({"requests": 10.0})

    account.grant(0.0, 1.0)

    assert account.state == Paced()


def test_the_first_429_of_a_quota_is_measured_by_the_requests_in_flight():
    account, now = warmed()
    now, permits = send(account, now, 3)

    end(account, permits[:1], "requests", now + 0.1)

    assert isinstance(account.state, Measuring)
    assert account.state.pending == set(permits[1:])
    end(account, permits[1:], "served", now + 0.2)
    assert account.state == Paced()


def test_measuring_ends_at_its_deadline_if_a_request_stays_in_flight():
    account, now = warmed()
    now, permits = send(account, now, 3)
    end(account, permits[:2], "requests", now + 0.1)
    deadline = account.state.deadline

    account.record_waiting(deadline - 0.001)
    assert isinstance(account.state, Measuring)
    account.record_waiting(deadline)

    assert account.state == Paced()


def test_a_quota_of_tokens_measured_in_slow_start_leads_back_to_it():
    account, now = warmed()
    now, permits = send(account, now, 2)

    end(account, permits[:1], "tokens", now + 0.1)
    end(account, permits[1:], "served", now + 0.2)

    assert account.state == SlowStart()
    assert account.known_pace("tokens") is not None


def test_measuring_when_nothing_was_ever_served_leads_to_an_outage():
    account = Account()
    now, permits = send(account, 0.0, 2)

    end(account, permits, "requests", now + 0.1)

    assert isinstance(account.state, Outage)
    assert account.known_pace("requests") is None


def test_a_served_probe_ends_an_outage():
    account, now = in_outage()
    now, (probe,) = send(account, now, 1)
    assert account.state.probing

    end(account, [probe], "served", now + 0.1)

    assert account.state == Paced()


def test_an_outage_does_not_end_with_a_request_sent_before_it():
    account = configured(requests=100.0)
    now, permits = send(account, 0.0, 5)
    end(account, permits[:4], "requests", now + 0.1)

    end(account, permits[4:], "served", now + 0.2)

    assert isinstance(account.state, Outage)


def test_a_probe_that_fails_for_another_reason_is_replaced_at_once():
    account, now = in_outage()
    now, (probe,) = send(account, now, 1)

    end(account, [probe], "other", now + 0.1)

    assert next_at(account, now + 0.1) == now + 0.1


def test_asking_when_the_next_request_may_be_sent_does_not_end_measuring():
    account, now = warmed()
    now, permits = send(account, now, 2)
    end(account, permits[:1], "requests", now + 0.1)
    measuring = account.state

    account.next_at(now + 1000)

    assert account.state is measuring


@pytest.mark.parametrize("waits", [True, False])
def test_a_pace_grows_only_if_a_request_waited_for_it(waits):
    account = Account({"requests": 10.0})
    account.grant(0.0, 1.0)
    before = account.known_pace("requests")

    assert account.next_at(0.05) > 0.05
    if waits:
        account.record_waiting(0.05)
    account.grant(0.2, 1.0)

    assert (account.known_pace("requests") > before) == waits

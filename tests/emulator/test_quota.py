import pytest

from qwen_embed.emulator.dialects.request import ApiError
from qwen_embed.emulator.quota import Quota


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def spent(quota, times, tokens=1):
    """How many of so many requests are let through."""
    passed = 0
    for _ in range(times):
        try:
            quota.spend(tokens)
        except ApiError:
            continue
        passed += 1
    return passed


def test_a_second_of_requests_is_let_through_at_once(clock):
    assert spent(Quota(600, None, clock), 50) == 10


def test_requests_come_back_as_time_passes(clock):
    quota = Quota(600, None, clock)
    spent(quota, 50)
    clock.now += 0.3
    assert spent(quota, 50) == 3


def test_no_more_than_a_second_is_saved_up(clock):
    quota = Quota(600, None, clock)
    clock.now += 3600
    assert spent(quota, 50) == 10


def test_a_rate_below_one_a_second_lets_one_through_at_a_time(clock):
    quota = Quota(6, None, clock)
    assert spent(quota, 5) == 1
    clock.now += 9.9
    assert spent(quota, 5) == 0
    clock.now += 0.1
    assert spent(quota, 5) == 1


def test_tokens_have_a_quota_of_their_own(clock):
    assert spent(Quota(None, 6000, clock), 50, tokens=30) == 3


def test_a_request_above_a_second_of_tokens_passes_when_nothing_is_owed_and_is_paid_off(clock):
    quota = Quota(None, 6000, clock)
    assert spent(quota, 2, tokens=250) == 1
    clock.now += 2.4
    assert spent(quota, 1, tokens=250) == 0
    clock.now += 0.1
    assert spent(quota, 2, tokens=250) == 1


def test_a_refused_request_spends_nothing(clock):
    quota = Quota(60, 600, clock)
    quota.spend(10)
    clock.now += 0.5
    assert spent(quota, 20) == 0
    clock.now += 0.5
    assert spent(quota, 1, tokens=10) == 1


@pytest.mark.parametrize(
    ("quota", "code", "message"),
    [
        (
            (60, None),
            "Throttling.RateQuota",
            "Requests rate limit exceeded, please try again later.",
        ),
        (
            (None, 60),
            "Throttling.AllocationQuota",
            "Allocated quota exceeded, please increase your quota limit.",
        ),
    ],
)
def test_the_refusal_says_which_quota_in_the_words_of_the_service(clock, quota, code, message):
    quota = Quota(*quota, clock)
    quota.spend(1)
    with pytest.raises(ApiError) as caught:
        quota.spend(1)
    assert (caught.value.status, caught.value.code, caught.value.message) == (429, code, message)


def test_without_numbers_everything_is_let_through(clock):
    assert spent(Quota(None, None, clock), 1000, tokens=1_000_000) == 1000


@pytest.mark.parametrize("numbers", [(0, None), (None, -1)])
def test_a_quota_of_nothing_is_a_mistake(clock, numbers):
    with pytest.raises(ValueError, match="above 0"):
        Quota(*numbers, clock)

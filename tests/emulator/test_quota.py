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


def allowed_of(quota, times, tokens=1):
    """Return how many of `times` requests are allowed."""
    allowed = 0
    for _ in range(times):
        try:
            quota.spend(tokens)
        except ApiError:
            continue
        allowed += 1
    return allowed


def test_one_second_of_requests_is_allowed_at_once(clock):
    assert allowed_of(Quota(600, None, clock), 50) == 10


def test_the_quota_refills_as_time_passes(clock):
    quota = Quota(600, None, clock)
    allowed_of(quota, 50)
    clock.now += 0.3
    assert allowed_of(quota, 50) == 3


def test_no_more_than_one_second_accumulates(clock):
    quota = Quota(600, None, clock)
    clock.now += 3600
    assert allowed_of(quota, 50) == 10


def test_a_rate_below_one_per_second_allows_one_at_a_time(clock):
    quota = Quota(6, None, clock)
    assert allowed_of(quota, 5) == 1
    clock.now += 9.9
    assert allowed_of(quota, 5) == 0
    clock.now += 0.1
    assert allowed_of(quota, 5) == 1


def test_tokens_have_their_own_quota(clock):
    assert allowed_of(Quota(None, 6000, clock), 50, tokens=30) == 3


def test_a_request_above_one_second_of_tokens_is_allowed_from_a_full_bucket_and_leaves_a_deficit(
    clock,
):
    quota = Quota(None, 6000, clock)
    assert allowed_of(quota, 2, tokens=250) == 1
    clock.now += 2.4
    assert allowed_of(quota, 1, tokens=250) == 0
    clock.now += 0.1
    assert allowed_of(quota, 2, tokens=250) == 1


def test_a_throttled_request_spends_nothing(clock):
    quota = Quota(60, 600, clock)
    quota.spend(10)
    clock.now += 0.5
    assert allowed_of(quota, 20) == 0
    clock.now += 0.5
    assert allowed_of(quota, 1, tokens=10) == 1


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
def test_the_error_names_the_quota_with_the_message_of_the_service(clock, quota, code, message):
    quota = Quota(*quota, clock)
    quota.spend(1)
    with pytest.raises(ApiError) as caught:
        quota.spend(1)
    assert (caught.value.status, caught.value.code, caught.value.message) == (429, code, message)


def test_without_limits_everything_is_allowed(clock):
    assert allowed_of(Quota(None, None, clock), 1000, tokens=1_000_000) == 1000


@pytest.mark.parametrize("numbers", [(0, None), (None, -1)])
def test_a_quota_that_is_not_positive_is_an_error(clock, numbers):
    with pytest.raises(ValueError, match="above 0"):
        Quota(*numbers, clock)

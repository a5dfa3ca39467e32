"""Usage of calls and list prices."""

from __future__ import annotations

import pytest

from qwen_embed.models import find_model
from qwen_embed.usage import Price, Usage, list_price


@pytest.mark.parametrize(
    ("model", "region", "price"),
    [
        ("text-embedding-v4", "cn-beijing", Price(0.5, "CNY", "2026-11")),
        ("text-embedding-v4", "ap-southeast-1", Price(0.07, "USD", "2026-11")),
        ("text-embedding-v4", "eu-central-1", None),
        ("text-embedding-v2", "ap-southeast-1", None),
        ("qwen3.7-text-embedding-flash", "cn-beijing", Price(0.125, "CNY", "2026-11")),
        ("a-model-of-tomorrow", "cn-beijing", None),
    ],
)
def test_a_price_is_known_only_for_published_regions(model, region, price):
    assert list_price(find_model(model), region) == price


def test_the_cost_is_computed_per_million_tokens():
    assert Usage(tokens=2_000_000, price=Price(0.07, "USD", "2026-11")).cost == pytest.approx(0.14)
    assert Usage(tokens=2_000_000).cost is None


def test_usage_as_str_is_one_line():
    price = Price(0.5, "CNY", "2026-11")
    usage = Usage(texts=1200, requests=121, retries=1, tokens=50_000, price=price)

    assert str(usage) == (
        "1,200 texts in 121 requests (1 retries), 50,000 tokens, about 0.025000 CNY (as of 2026-11)"
    )
    assert str(price) == "0.5 CNY per million tokens, as of 2026-11"
    assert str(Usage(texts=1)).endswith("0 tokens, price unknown")


def test_texts_from_the_cache_are_shown_and_added_up():
    usage = Usage(texts=1, cached=1_200)
    usage.add(Usage(cached=34))

    assert str(usage) == (
        "1 texts in 0 requests (0 retries), 0 tokens, price unknown; 1,234 texts from the cache"
    )

import pytest

from qwen_embed.emulator.tokens import count_tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        (" \t\n\u3000\u200b\0", 0),
        ("风急天高", 4),
        ("word", 1),
        ("embedding", 3),
        ("ein Würfel", 3),
        ("2026", 4),
        ("Hi, you!", 4),
        ("猫cat猫", 3),
        ("😀😀", 2),
    ],
)
def test_token_counts_are_close_to_those_of_the_service(text, tokens):
    assert count_tokens(text) == tokens


def test_five_megabytes_are_counted():
    assert count_tokens("hello world, 2026 " * 290_000) == 290_000 * count_tokens(
        "hello world, 2026 "
    )

"""The tokenizer: counts of tokens, and texts split by them."""

from __future__ import annotations

import subprocess
import sys
import unicodedata
from importlib.util import find_spec

import pytest
from dashscope import get_tokenizer
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from qwen_embed import tokenizer
from qwen_embed.tokenizer import can_count, load_tokenizer, surely_fits

CHARACTERS = st.one_of(
    st.characters(exclude_categories=["Cs"]),
    st.sampled_from(
        "\0\n\r\t '’.eéاक्षि각ᄀ ᅡᆨ风急天高👩‍👩‍👧🇨🇳𠮷\u0301\u0327\u0344\u0958\U0001d160\u200d\ufeff"
    ),
)
TEXTS = st.one_of(
    st.text(CHARACTERS),
    st.builds(
        lambda text, times: text * times, st.text(CHARACTERS, max_size=8), st.integers(2, 99)
    ),
)
WINDOW = 50_000
HALF_A_MEGABYTE = 512 * 1024


@pytest.fixture
def characters_encoded(monkeypatch):
    """The lengths of the texts that were encoded."""
    lengths = []
    encode = tokenizer.Tokenizer.encode

    def counting(self, text):
        lengths.append(len(text))
        return encode(self, text)

    monkeypatch.setattr(tokenizer.Tokenizer, "encode", counting)
    return lengths


@pytest.fixture(scope="module")
def of_the_sdk():
    return get_tokenizer("qwen-turbo")


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("The wind rises.", 4), ("风起了。", 3), ("2026", 4), ("<|endoftext|>", 7)],
)
def test_tokens_are_counted(text, count):
    assert load_tokenizer().count(text) == count


@settings(deadline=None)
@given(TEXTS)
def test_ids_are_those_of_the_sdk(of_the_sdk, text):
    assume("<|" not in text)  # the SDK takes control tokens written out for the tokens themselves
    assert load_tokenizer().encode(text) == of_the_sdk.encode(text)


@settings(deadline=None)
@given(TEXTS)
def test_a_text_that_surely_fits_does(text):
    assert surely_fits(text, max(load_tokenizer().count(text), 4 * len(text) * 3))
    assert not text or not surely_fits(text, load_tokenizer().count(text) - 1)


@settings(deadline=None, max_examples=300)
@given(TEXTS, st.integers(12, 60))
def test_chunks_are_within_the_limit_and_joined_they_are_the_text(text, limit):
    chunks = list(load_tokenizer().split(text, limit))

    assert "".join(chunk for chunk, _ in chunks) == text
    for chunk, count in chunks:
        assert 0 < count <= limit
        assert count == load_tokenizer().count(chunk)


def test_chunks_are_as_long_as_possible():
    text = "the wind will rise over cold hills " * 100

    counts = [count for _, count in load_tokenizer().split(text, 64)]

    assert set(counts[:-1]) == {64}


def test_a_character_of_several_tokens_is_not_split():
    text = "𓀀" * 100
    assert load_tokenizer().count("𓀀") > 1

    chunks = [chunk for chunk, _ in load_tokenizer().split(text, 13)]

    assert "".join(chunks) == text
    assert all(set(chunk) == {"𓀀"} for chunk in chunks)


def test_a_decomposed_text_is_split_like_its_composed_form():
    composed = "Gió nổi lên rồi, phải cố mà sống. " * 40
    decomposed = unicodedata.normalize("NFD", composed)

    chunks = [chunk for chunk, _ in load_tokenizer().split(decomposed, 50)]

    assert "".join(chunks) == decomposed
    assert [unicodedata.normalize("NFC", chunk) for chunk in chunks] == [
        chunk for chunk, _ in load_tokenizer().split(composed, 50)
    ]


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "\n",
        "\0",
        "the wind ",
        "0",
        "=",
        "风",
        "风起了。",
        "👩‍👩‍👧",
        "e\u0301",
        "\u0301",
        "\u0344",
    ],
    ids=ascii,
)
def test_the_work_for_a_chunk_does_not_depend_on_its_position(unit, characters_encoded):
    """The work grows in proportion to the text."""
    text = unit * (HALF_A_MEGABYTE // len(unit.encode()))

    chunks = list(load_tokenizer().split(text, 8_192))

    assert "".join(chunk for chunk, _ in chunks) == text
    assert max(count for _, count in chunks) <= 8_192
    assert min((count for _, count in chunks[:-1]), default=8_192) > 8_000
    assert sum(characters_encoded) <= 3 * len(text) + len(chunks) * WINDOW
    assert max(characters_encoded) <= WINDOW


def test_a_text_on_which_tiktokens_stack_overflows_is_split():
    text = " " * 1_000_000

    chunks = list(load_tokenizer().split(text, 8_192))

    assert "".join(chunk for chunk, _ in chunks) == text
    assert max(count for _, count in chunks) <= 8_192


def test_counting_does_not_import_the_sdk():
    program = (
        "import sys\n"
        "from qwen_embed.tokenizer import load_tokenizer\n"
        "assert load_tokenizer().count('The wind rises.') == 4\n"
        "assert 'dashscope' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("missing", ["dashscope", "tiktoken"])
def test_a_missing_package_is_noticed_before_it_is_imported(monkeypatch, missing):
    assert can_count()

    monkeypatch.setattr(
        tokenizer, "find_spec", lambda name: None if name == missing else find_spec(name)
    )

    assert not can_count()

"""The pages of the documentation: their links, their words, and what they must name."""

from __future__ import annotations

import re
import runpy

import pytest

import qwen_embed
from qwen_embed import QwenEmbedder
from qwen_embed.models import MODELS
from tests.support.pages import ENGLISH, PAGES, ROOT, anchors, links, name_of, prose

README = ROOT / "README.md"
DOCS = ROOT / "docs"

DIALECT = re.compile(
    r"""
    hand(s|ed|ing)?[ -]over | hand-off | stand-in | \banew\b | \blikewise\b | \bbesides\b
    | \barrears\b | \brefus(e|es|ed|al|als|ing)\b | \brepeat(s|ed|ing)?\b | \bat\ fault\b
    | \bhalf\ that\b | \bhalved\b | \bhalving\b | \bhalf\ a\ surrogate\b | \bwhat\ waits\b
    | (server|client)s?\ of\ (one's|your|their)\ own | \bclient\ of\ yours\b
    | requests?\ (may\ )?leaves?\b | \bmay\ leave\b | \bheals?\b | \bfor\ good\b
    | \btold\ quota\b | \bquotas?\ (that\ (is|was)\ )?told\b | \bnothing\ told\b
    | (texts|rows?|numbers)\ an?\ (text|request) | requests\ an?\ (second|minute)
    | \banswers?\ that\ lies?\b | \bcannot\ be\ believed\b | \bin\ its\ stead\b | \bsureness\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""Words that no client of an HTTP API uses, for which the documentation has the usual ones."""


def words(page):
    """Return a page's prose on one line, without names in code and targets of links."""
    text = re.sub(r"`[^`]+`|\]\([^)]*\)", " ", prose(page))
    return " ".join(text.split())


def is_there(page, target):
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not anchor or not file.exists():
        return file.exists()
    if file.suffix == ".py":
        return f"def {anchor}(" in file.read_text(encoding="utf-8")
    return anchor in anchors(file)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file_and_a_heading_or_a_test(page):
    within = [target for target in links(prose(page)) if "://" not in target]

    assert [target for target in within if not is_there(page, target)] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_two_headings_of_a_page_have_one_anchor(page):
    assert len(set(anchors(page))) == len(anchors(page))


def test_the_readme_leads_to_every_page():
    linked = {(README.parent / target.split("#")[0]).resolve() for target in links(prose(README))}

    assert sorted(name_of(page) for page in DOCS.glob("*.md") if page not in linked) == []


def test_the_readme_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


def test_every_promise_is_linked_to_its_test():
    page = (DOCS / "reliability.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?!fault|---)(.+) \|$", page.split("## Retries")[0], re.MULTILINE)

    assert len(rows) >= 15
    assert [row for row in rows if not re.search(r"\]\(\.\./tests/[\w/]+\.py(#\w+)?\)$", row)] == []


def test_the_page_of_settings_is_what_the_script_makes():
    script = runpy.run_path(str(DOCS / "generate_settings.py"))

    assert (DOCS / "settings.md").read_text(encoding="utf-8") == script["page"]()


def test_the_page_of_settings_has_every_option_with_its_other_names():
    page = (DOCS / "settings.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` (.*)$", page, re.MULTILINE))

    assert rows.keys() >= QwenEmbedder.model_fields.keys()
    for name, field in QwenEmbedder.model_fields.items():
        for alias in getattr(field.validation_alias, "choices", [name])[1:]:
            assert f"`{alias}`" in rows[name]


def test_every_model_is_named():
    page = (DOCS / "settings.md").read_text(encoding="utf-8")

    assert [name for name in MODELS if f"`{name}`" not in page] == []


def test_every_error_and_warning_is_named():
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    names = {name for name in qwen_embed.__all__ if name.endswith(("Error", "Warning"))}

    assert sorted(name for name in names if f"`{name}`" not in page) == []


@pytest.mark.parametrize("page", ENGLISH, ids=name_of)
def test_a_page_uses_the_words_of_its_field(page):
    assert [match[0] for match in DIALECT.finditer(words(page))] == []


@pytest.mark.parametrize(
    "sentence",
    [
        "ten texts a request",
        "a request leaves when it may",
        "a server of one's own",
        "the half that waits",
        "Rows are made anew.",
        "a text at fault is refused by the server",
        "four requests a minute, and tokens likewise",
    ],
)
def test_banned_words_are_noticed(sentence):
    assert DIALECT.search(sentence)

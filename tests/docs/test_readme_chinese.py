"""The Chinese README has the code, tables, links, names and numbers of the English one."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "README.zh-CN.md"]
ENGLISH, CHINESE = [(ROOT / page).read_text(encoding="utf-8") for page in PAGES]
_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def prose(page):
    return _BLOCK.sub("", page)


def headings(page):
    """Return the level and the title of each heading."""
    return [(len(m[1]), m[2]) for m in re.finditer(r"^(#+) (.*)$", prose(page), re.MULTILINE)]


def sections(page):
    """Return the text before the first heading, and that under each heading."""
    return re.split(r"^#+ .*$", prose(page), flags=re.MULTILINE)


def sections_by_heading():
    """Return the Chinese and the English text of each section, by its English heading."""
    titles = ["", *(title for _, title in headings(ENGLISH))]
    return dict(zip(titles, zip(sections(CHINESE), sections(ENGLISH), strict=True), strict=True))


def tables(page):
    """Return the rows of each table, as lists of cells."""
    runs = groupby(prose(page).splitlines(), key=lambda line: line.startswith("|"))
    return [
        [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
        for is_table, lines in runs
        if is_table
    ]


def targets(text):
    """Return the targets of links and, with their mark, of pictures."""
    return re.findall(r"(!?)\[[^\]]*\]\(([^)\s]+)\)", text)


def anchors(page):
    """Return the anchor that GitHub gives each heading."""
    titles = [title.lower() for _, title in headings(page)]
    return [re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles]


def headings_linked(page):
    """Return the places, among all headings, of those that links within the page lead to."""
    places = {anchor: place for place, anchor in enumerate(anchors(page))}
    return [places[target[1:]] for _, target in targets(prose(page)) if target.startswith("#")]


def links_out(page, other):
    """Return the targets of a page beyond itself, but for the page in the other language."""
    found = targets(prose(page))
    return [each for each in found if not each[1].startswith("#") and each[1] != other]


def names(text):
    """Return what is set as code, wherever its line breaks."""
    return [" ".join(name.split()) for name in re.findall(r"`[^`]+`", text)]


def numbers(text):
    """Return the numbers that are written in digits outside code and targets."""
    return set(re.findall(r"\d(?:[\d.,]*\d)?", re.sub(r"`[^`]+`|\]\([^)]*\)", "", text)))


def test_the_code_and_what_it_prints_are_the_same():
    assert _BLOCK.findall(CHINESE) == _BLOCK.findall(ENGLISH)


def test_the_headings_have_the_same_levels_in_the_same_order():
    assert [level for level, _ in headings(CHINESE)] == [level for level, _ in headings(ENGLISH)]


def test_the_tables_have_the_same_shapes():
    chinese, english = [
        [[len(row) for row in table] for table in tables(page)] for page in (CHINESE, ENGLISH)
    ]

    assert chinese == english


def test_each_row_of_a_table_names_and_links_to_the_same_in_the_same_column():
    chinese, english = [
        [
            [[(sorted(names(cell)), targets(cell)) for cell in row] for row in table]
            for table in tables(re.sub(r"\(#[^)]*\)", "(#)", page))
        ]
        for page in (CHINESE, ENGLISH)
    ]

    assert chinese == english


def test_each_section_has_the_same_names_in_code():
    differing = {
        heading: set(names(chinese)) ^ set(names(english))
        for heading, (chinese, english) in sections_by_heading().items()
    }

    assert {heading: found for heading, found in differing.items() if found} == {}


def test_no_section_loses_a_number():
    lost = {
        heading: numbers(english) - numbers(chinese)
        for heading, (chinese, english) in sections_by_heading().items()
    }

    assert {heading: found for heading, found in lost.items() if found} == {}


def test_the_links_and_pictures_are_the_same():
    english, chinese = PAGES

    assert sorted(links_out(CHINESE, english)) == sorted(links_out(ENGLISH, chinese))


def test_each_page_links_to_the_other():
    english, chinese = PAGES

    assert CHINESE.startswith(f"[English]({english})")
    assert ("", chinese) in targets(ENGLISH)


@pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=PAGES)
def test_links_within_a_page_lead_to_a_heading(page):
    found = {target[1:] for _, target in targets(prose(page)) if target.startswith("#")}

    assert len(set(anchors(page))) == len(anchors(page))  # or GitHub would number them
    assert found - set(anchors(page)) == set()


def test_links_within_the_pages_lead_to_the_same_headings():
    assert sorted(headings_linked(CHINESE)) == sorted(headings_linked(ENGLISH))


@pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=PAGES)
def test_the_files_that_a_page_links_to_are_there(page):
    found = {target.split("#")[0] for _, target in targets(prose(page)) if "://" not in target}

    assert sorted(path for path in found if not (ROOT / path).exists()) == []

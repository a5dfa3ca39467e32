"""The Chinese pages have the structure, code, links, names and numbers of the English ones."""

from __future__ import annotations

import re
from itertools import groupby

import pytest

from tests.support.pages import CHINESE, ROOT, blocks, headings, links, name_of, prose

ENGLISH_OF = {
    page: ROOT / ("README.md" if page.name.startswith("README") else f"docs/{page.name}")
    for page in CHINESE
}
PAIRS = [pytest.param(*pair, id=name_of(pair[0])) for pair in ENGLISH_OF.items()]


def tables(page):
    """Return the rows of each table, as lists of cells."""
    runs = groupby(prose(page).splitlines(), key=lambda line: line.startswith("|"))
    return [
        [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
        for is_table, lines in runs
        if is_table
    ]


def without_comments(code):
    return re.sub(r" *#.*$", "", code, flags=re.MULTILINE)


def linked_files(page):
    """Return the files that a page links to, in any order; other pages have those in English."""
    found = {
        (page.parent / path).resolve()
        for path in (target.split("#")[0] for target in links(prose(page)))
        if path and "://" not in path
    }
    return {ENGLISH_OF.get(file, file) for file in found}


def names(text):
    """Return the names set as code, without line breaks."""
    return {" ".join(name.split()) for name in re.findall(r"`[^`]+`", text)}


def numbers(text):
    """Return the numbers that are written in digits outside code and targets."""
    return set(re.findall(r"\d(?:[\d.,]*\d)?", re.sub(r"`[^`]+`|\]\([^)]*\)", "", text)))


def sections(page):
    """Return the text before the first heading, and that under each heading."""
    return re.split(r"^#+ .*$", prose(page), flags=re.MULTILINE)


@pytest.mark.parametrize(("chinese", "english"), PAIRS)
def test_the_headings_have_the_same_levels_in_the_same_order(chinese, english):
    assert [level for level, _ in headings(chinese)] == [level for level, _ in headings(english)]


@pytest.mark.parametrize("language", ["python", "diff", "text"])
@pytest.mark.parametrize(("chinese", "english"), PAIRS)
def test_the_code_but_for_comments_and_what_it_prints_are_the_same(chinese, english, language):
    ours, theirs = blocks(chinese, language), blocks(english, language)

    assert list(map(without_comments, ours)) == list(map(without_comments, theirs))


@pytest.mark.parametrize("chinese", CHINESE, ids=name_of)
def test_comments_in_code_are_chinese(chinese):
    code = "\n".join(blocks(chinese, "python") + blocks(chinese, "sh"))
    comments = re.findall(r"(?:^| )# (.*)$", code, re.MULTILINE)

    assert [comment for comment in comments if not re.search(r"[\u4e00-\u9fff]", comment)] == []


@pytest.mark.parametrize(("chinese", "english"), PAIRS)
def test_the_tables_have_the_same_shapes(chinese, english):
    ours, theirs = [
        [[len(row) for row in table] for table in tables(page)] for page in (chinese, english)
    ]

    assert ours == theirs


@pytest.mark.parametrize(("chinese", "english"), PAIRS)
def test_each_section_has_the_same_names_in_code(chinese, english):
    for ours, theirs in zip(sections(chinese), sections(english), strict=True):
        assert names(ours) == names(theirs)


@pytest.mark.parametrize(("chinese", "english"), PAIRS)
def test_no_section_loses_a_number(chinese, english):
    for ours, theirs in zip(sections(chinese), sections(english), strict=True):
        assert numbers(theirs) - numbers(ours) == set()


@pytest.mark.parametrize(("chinese", "english"), PAIRS)
def test_the_same_files_are_linked(chinese, english):
    other = {chinese, english}

    assert linked_files(chinese) - other == linked_files(english) - other


@pytest.mark.parametrize(("chinese", "english"), PAIRS)
def test_each_page_links_to_the_other(chinese, english):
    def targets(page):
        return {(page.parent / target).resolve() for target in links(prose(page))}

    assert english in targets(chinese)
    assert chinese in targets(english)

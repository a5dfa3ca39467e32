"""Compares the ways to call these models: prints a table in which each cell was found by running."""

from __future__ import annotations

import argparse
import datetime as dt
import logging
import re
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path

from behaviours import BEHAVIOURS
from ways import OURS, PEERS, Way

BEGIN, END = "<!-- comparison: begin -->", "<!-- comparison: end -->"
PROCESSES = 4

Column = dict[str, str]


def quiet() -> None:
    """Keep what the others log and warn of out of the table."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)


def column(kind: type[Way]) -> Column:
    """Return what a way does, by behaviour."""
    return {name: behaviour(kind) for name, behaviour in BEHAVIOURS.items()}


def is_installed(package: str) -> bool:
    """Return whether a distribution is there."""
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def present(kinds: Iterable[type[Way]]) -> list[type[Way]]:
    """Return the ways whose packages are there; a line says which are left out."""
    found = []
    for kind in kinds:
        missing = [package for package in kind.packages if not is_installed(package)]
        if missing:
            print(f"{kind.name} is left out: no {', '.join(missing)}.", file=sys.stderr)
        else:
            found.append(kind)
    return found


def compare(kinds: Sequence[type[Way]]) -> dict[str, Column]:
    """Run every way in a process of its own or after another one; return the columns by name.

    Those of ours that are equal become one.
    """
    with ProcessPoolExecutor(PROCESSES, get_context("spawn"), quiet) as pool:
        columns = dict(zip(kinds, pool.map(column, kinds), strict=True))
    named = {kind.name: found for kind, found in columns.items() if kind not in OURS}
    ours = {kind.name: found for kind, found in columns.items() if kind in OURS}
    one, *others = ours.values()
    return {**({"qwen-embed": one} if all(one == it for it in others) else ours), **named}


def table(columns: Mapping[str, Column]) -> str:
    """Return a Markdown table: behaviours as rows, ways as columns."""
    lines = [["", *columns], ["---"] * (len(columns) + 1)]
    lines += [[name, *(found[name] for found in columns.values())] for name in BEHAVIOURS]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def circumstances(kinds: Iterable[type[Way]]) -> str:
    """Return when this was found, and with which releases."""
    packages = dict.fromkeys(package for kind in kinds for package in kind.packages)
    releases = ", ".join(f"{package} {version(package)}" for package in packages)
    return f"Found on {dt.date.today()} with {releases}."


def written_into(page: str, found: str) -> str:
    """Return a page with what was found between its two marks.

    Raises:
        ValueError: If the page does not have them.
    """
    marked = re.compile(f"{BEGIN}.*{END}", re.DOTALL)
    if not marked.search(page):
        raise ValueError(f"The page needs {BEGIN} and {END}.")
    return marked.sub(lambda _: f"{BEGIN}\n{found}\n{END}", page)


def main() -> None:
    """Print the table, and with `--write` put it into a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="the page to put it into, such as README.md")
    page = parser.parse_args().write
    kinds = present((*OURS, *PEERS))
    found = f"{table(compare(kinds))}\n\n{circumstances(kinds)}"
    print(found)
    if page:
        page.write_text(written_into(page.read_text("utf-8"), found), "utf-8")


if __name__ == "__main__":
    main()

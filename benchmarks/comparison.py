"""Compares the clients of these models: a table in which each cell is found by running one."""

from __future__ import annotations

import argparse
import datetime as dt
import logging
import multiprocessing
import os
import re
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from behaviours import BEHAVIOURS
from clients import OURS, PEERS, Client

BEGIN, END = "<!-- comparison: begin -->", "<!-- comparison: end -->"
# Windows has no forkserver.
_START = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"

Column = dict[str, str]


def quiet() -> None:
    """Silence the logs and warnings of other clients."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)


def forget_settings() -> None:
    """Remove settings of the service, and proxies, from the environment."""
    for name in list(os.environ):
        if name.startswith(("DASHSCOPE_", "OPENAI_")):
            del os.environ[name]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"


def column(kind: type[Client]) -> Column:
    """Return the cells of a client, by behaviour."""
    return {name: behaviour(kind) for name, behaviour in BEHAVIOURS.items()}


def is_installed(package: str) -> bool:
    """Return whether a distribution is installed."""
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def present(kinds: Iterable[type[Client]]) -> list[type[Client]]:
    """Return the clients whose packages are installed, and print which are left out."""
    found = []
    for kind in kinds:
        missing = [package for package in kind.packages if not is_installed(package)]
        if missing:
            print(f"{kind.name} is left out: no {', '.join(missing)}.", file=sys.stderr)
        else:
            found.append(kind)
    return found


def compare(kinds: Sequence[type[Client]]) -> dict[str, Column]:
    """Run every client in its own process, and return the columns by name.

    Some clients are configured by globals, which would affect the others. Identical columns of
    ours become one.
    """
    forget_settings()
    context = multiprocessing.get_context(_START)
    if _START == "forkserver":
        # Their packages load slowly: they are loaded once, and shared by all processes.
        context.set_forkserver_preload([module for kind in kinds for module in kind.modules])
    with context.Pool(len(kinds), quiet, maxtasksperchild=1) as pool:
        columns = dict(zip(kinds, pool.map(column, kinds, chunksize=1), strict=True))
    named = {kind.name: found for kind, found in columns.items() if kind not in OURS}
    ours = {kind.name: found for kind, found in columns.items() if kind in OURS}
    one, *others = ours.values()
    return {**({"qwen-embed": one} if all(one == it for it in others) else ours), **named}


def table(columns: Mapping[str, Column]) -> str:
    """Return a Markdown table: behaviours as rows, clients as columns."""
    lines = [["", *columns], ["---"] * (len(columns) + 1)]
    lines += [[name, *(found[name] for found in columns.values())] for name in BEHAVIOURS]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def circumstances(kinds: Iterable[type[Client]]) -> str:
    """Return the date and the releases."""
    packages = dict.fromkeys(package for kind in kinds for package in kind.packages)
    releases = ", ".join(f"{package} {version(package)}" for package in packages)
    return f"Found on {dt.date.today()} with {releases}."


def written_into(page: str, found: str) -> str:
    """Return a page with the table between its two marks.

    Raises:
        ValueError: If the page does not have them.
    """
    marked = re.compile(f"{BEGIN}.*{END}", re.DOTALL)
    if not marked.search(page):
        raise ValueError(f"The page needs {BEGIN} and {END}.")
    return marked.sub(lambda _: f"{BEGIN}\n{found}\n{END}", page)


def main() -> None:
    """Print the table, and with `--write` write it into a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--write", type=Path, help="the page to write it into, for example docs/comparison.md"
    )
    parser.add_argument("--ours", action="store_true", help="run only this package's clients")
    arguments = parser.parse_args()
    page = arguments.write
    kinds = present(OURS if arguments.ours else (*OURS, *PEERS))
    found = f"{table(compare(kinds))}\n\n{circumstances(kinds)}"
    print(found)
    if page:
        page.write_text(written_into(page.read_text("utf-8"), found), "utf-8")


if __name__ == "__main__":
    main()

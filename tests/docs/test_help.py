"""What `help` says of every public name: what it is, its options, what comes back, an example."""

from __future__ import annotations

import inspect
import pydoc
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import langchain_qwen_embed
import llamaindex_qwen_embed
import qwen_embed
import qwen_embed.emulator
from langchain_qwen_embed import QwenEmbeddings, QwenSparseEmbeddings
from llamaindex_qwen_embed import QwenEmbedding, QwenSparseEmbedding
from qwen_embed import QwenEmbedder
from qwen_embed.config import option_help

PACKAGES = (qwen_embed, langchain_qwen_embed, llamaindex_qwen_embed, qwen_embed.emulator)
PUBLIC = {
    f"{package.__name__}.{name}": getattr(package, name)
    for package in PACKAGES
    for name in package.__all__
    if name != "__version__"
}
CLASSES = {name: found for name, found in PUBLIC.items() if inspect.isclass(found)}
EMBEDDERS = [
    QwenEmbedder,
    QwenEmbeddings,
    QwenSparseEmbeddings,
    QwenEmbedding,
    QwenSparseEmbedding,
]
HANDLED = {
    qwen_embed.InputError,
    qwen_embed.PartialFailureError,
    qwen_embed.RequestTimeoutError,
    qwen_embed.ServiceError,
}
"""Errors that users handle, or the first of their family."""


def our_members(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties that a class has from these packages."""
    for member in inspect.classify_class_attrs(kind):
        where = member.defining_class.__module__.split(".")[0]
        is_ours = where in {package.__name__ for package in PACKAGES}
        # Made by pydantic, in every class that has private attributes.
        is_ours = is_ours and member.name != "model_post_init"
        if is_ours and not member.name.startswith("_") and member.kind != "data":
            yield member.name, inspect.getattr_static(kind, member.name)


MEMBERS = {
    f"{name}.{member}": (kind, member, found)
    for name, kind in CLASSES.items()
    for member, found in our_members(kind)
}


def docstring(found: object) -> str:
    return inspect.getdoc(getattr(found, "__func__", found)) or ""


def help_on(found: object) -> str:
    return pydoc.plain(pydoc.render_doc(found))


@pytest.mark.parametrize("name", PUBLIC)
def test_help_shows_the_docstring_of_a_public_name(name):
    found = PUBLIC[name]

    shown = {re.sub(r"^[ |]*", "", line) for line in help_on(found).splitlines()}

    assert docstring(found)
    assert {line.strip() for line in docstring(found).splitlines()} - shown == set()


@pytest.mark.parametrize("name", PUBLIC)
def test_no_docstring_makes_a_line_of_help_longer_than_100(name):
    found = PUBLIC[name]
    lines = [f" |  {line}" for line in docstring(found).splitlines()]
    if name in CLASSES:
        for _, member in our_members(found):
            lines += [f" |      {line}" for line in docstring(member).splitlines()]

    assert [line for line in lines if len(line) > 100] == []


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_that_users_meet_has_an_example(name):
    found = CLASSES[name]

    if not issubclass(found, Exception) or found in HANDLED:
        assert re.search(r"^Example:\n    >>> ", docstring(found), re.MULTILINE)


@pytest.mark.parametrize("name", MEMBERS)
def test_a_public_member_documents_what_it_returns(name):
    kind, _, found = MEMBERS[name]
    text = docstring(found)
    assert text
    if isinstance(found, property):
        return

    twins = re.findall(r"; see `(\w+)`", text.splitlines()[0])
    returned = inspect.signature(getattr(found, "__func__", found)).return_annotation
    says = re.search(r"^(Return|Yield)s?[ :]", text, re.MULTILINE)
    assert says or returned == "None" or twins
    # Another method documents it.
    assert [twin for twin in twins if not hasattr(kind, twin)] == []


@pytest.mark.parametrize("name", MEMBERS)
def test_a_public_member_names_all_its_arguments_or_none(name):
    _, _, found = MEMBERS[name]
    if isinstance(found, property) or "Args:" not in docstring(found):
        return

    arguments = inspect.signature(getattr(found, "__func__", found)).parameters.keys()
    told = re.findall(r"^    \*{0,2}(\w+): ", docstring(found).split("Args:")[1], re.MULTILINE)

    assert arguments - {"self", "cls"} - set(told) == set()


def options_of(kind: type) -> dict[str, tuple[str, str]]:
    """Return what a docstring says of each option: its type and default, and its text."""
    section = docstring(kind).split("\nArgs:\n")[1]
    entries = [
        " ".join(entry.split()) for entry in re.split(r"^ {4}(?=\w)", section, flags=re.MULTILINE)
    ]
    return {name: (head, text) for name, head, text in map(parts_of, filter(None, entries))}


def parts_of(entry: str) -> tuple[str, str, str]:
    name, head, text = re.fullmatch(r"(\w+) \((.+?)\):(.*)", entry).groups()
    return name, head, text.strip()


@pytest.mark.parametrize("kind", EMBEDDERS)
def test_every_option_is_shown_with_its_default_and_its_meaning(kind):
    shown = options_of(kind)

    assert list(shown) == list(kind.model_fields)
    assert [name for name, (_, text) in shown.items() if not text] == []
    for name, field in kind.model_fields.items():
        default = f'"{field.default}"' if isinstance(field.default, str) else field.default
        assert field.default_factory or shown[name][0].endswith(f", default {default}"), name


def test_an_option_has_its_type_and_its_other_names():
    shown = options_of(QwenEmbedder)

    assert shown["long_text"][0] == '"error" | "truncate" | "average", default "error"'
    assert shown["cache"][0] == "VectorCache | Path | str | None, default None"
    assert shown["timeout"][1].endswith("to its last byte. Also accepted as `request_timeout`.")
    assert shown["api_key"][1].endswith("as `dashscope_api_key` or `openai_api_key`.")


class Tuned(QwenEmbedder):
    """An embedder with an additional option."""

    boost: float = 1.5
    """The factor of each vector."""

    stop_words: list[str]
    """Words that are left out."""


def test_a_user_defined_subclass_shows_its_options_too():
    shown = options_of(Tuned)

    assert shown["boost"] == (
        "float, default 1.5",
        "The factor of each vector.",
    )
    assert shown["stop_words"] == ("list[str], required", "Words that are left out.")
    assert shown["dimension"] == options_of(QwenEmbedder)["dimension"]


def test_a_docstring_may_be_set():
    class Renamed(QwenEmbedder):
        """Before."""

    Renamed.__doc__ = "After."

    assert Renamed.__doc__.startswith("After.\n\nArgs:\n    model ")


def test_a_class_without_a_docstring_has_none():
    class Bare(QwenEmbedder):
        pass

    assert Bare.__doc__ is None
    assert inspect.getdoc(Bare) == inspect.getdoc(QwenEmbedder)


def test_types_and_defaults_are_shown_if_the_source_is_missing(monkeypatch):
    def missing(_: object) -> str:
        raise OSError("could not get source code")

    monkeypatch.setattr(inspect, "getsource", missing)
    option_help.field_texts.cache_clear()
    try:
        shown = options_of(QwenEmbedder)
    finally:
        option_help.field_texts.cache_clear()

    assert shown["normalize"] == ("bool, default False", "")
    assert shown["timeout"] == ("float, default 60.0", "Also accepted as `request_timeout`.")


def test_a_json_schema_has_the_docstring_as_its_description():
    assert QwenEmbedder.model_json_schema()["description"] == inspect.getdoc(QwenEmbedder)


def run(program: str, *flags: str) -> None:
    done = subprocess.run(
        [sys.executable, *flags, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_no_source_is_read_before_help_is_called():
    run(
        "from langchain_qwen_embed import QwenEmbeddings\n"
        "from llamaindex_qwen_embed import QwenEmbedding\n"
        "from qwen_embed.config.option_help import field_texts\n"
        "assert field_texts.cache_info().misses == 0\n"
        "assert QwenEmbeddings.__doc__\n"
        "assert field_texts.cache_info().misses > 0\n"
    )


def test_help_works_if_python_drops_docstrings():
    run(
        "import pydoc\n"
        "from qwen_embed import QwenEmbedder\n"
        "shown = pydoc.render_doc(QwenEmbedder, renderer=pydoc.plaintext)\n"
        "raise SystemExit(QwenEmbedder.__doc__ is not None or 'embed_documents' not in shown)\n",
        "-OO",
    )

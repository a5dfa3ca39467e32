"""Every example in a docstring is run, and prints what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import langchain_qwen_embed
import llamaindex_qwen_embed
import qwen_embed

MODULES = [
    module.name
    for package in (qwen_embed, langchain_qwen_embed, llamaindex_qwen_embed)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    # Modules for a store need its package, and are run where it is installed.
    if not module.name.endswith(("__main__", ".chroma", ".milvus"))
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_are_true(name):
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)

    assert failed == 0

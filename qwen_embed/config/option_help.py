"""The options in `help`: the docstring of each field, with its type, default and aliases.

They are read from the source when `help` is called, because that would slow down every import.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import lru_cache
from itertools import pairwise
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

WIDTH = 96
"""Characters per line; `help` indents by four more."""


def docstring_of(model: type[BaseModel]) -> str | None:
    """Return a class's own docstring followed by its options; `None` if it has no docstring."""
    own: str | None = model.__dict__.get("__doc__")
    return own and f"{inspect.cleandoc(own)}\n\n{describe_options(model)}"


def describe_options(model: type[BaseModel]) -> str:
    """Return the section of a docstring that describes the options of a class.

    Types, defaults and aliases are those of the fields. The descriptions are missing if the source
    is not available, for example in a program packaged without it.
    """
    texts: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if isinstance(each, OptionDocs):
            texts |= field_texts(each)
    entries = [
        textwrap.fill(
            _entry(name, field, texts.get(name, field.description or "")),
            WIDTH,
            initial_indent=" " * 4,
            subsequent_indent=" " * 8,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name, field in model.model_fields.items()
    ]
    return "\n".join(["Args:", *entries])


@lru_cache(maxsize=64)
def field_texts(model: type) -> dict[str, str]:
    """Return the docstring below each field of a class, in one line."""
    try:
        [definition] = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    except (OSError, TypeError, SyntaxError):
        return {}
    texts = {}
    for field, below in pairwise(getattr(definition, "body", ())):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            texts[field.target.id] = " ".join(str(below.value.value).split())
    return texts


def _entry(name: str, field: FieldInfo, text: str) -> str:
    head = _type_name(field.annotation)
    if field.is_required():
        head += ", required"
    elif field.default_factory is None:
        head += f", default {_literal(field.default)}"
    aliases = field.validation_alias
    also = aliases.choices[1:] if isinstance(aliases, AliasChoices) else []
    known_as = f"Also accepted as {' or '.join(f'`{alias}`' for alias in also)}." if also else ""
    return f"{name} ({head}): {text} {known_as}".strip()


def _type_name(annotation: Any) -> str:
    """Return a type as users write it: alternatives separated by `|`, without constraints."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(map(_literal, parts))
    if origin is Annotated:
        return _type_name(parts[0])
    if origin in (Union, UnionType):
        return " | ".join(map(_type_name, parts))
    if annotation is NoneType:
        return "None"
    return str(annotation) if parts else getattr(annotation, "__name__", str(annotation))


def _literal(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


if TYPE_CHECKING:  # type checkers understand only pydantic's own metaclass
    from pydantic._internal._model_construction import ModelMetaclass

    OptionDocs = ModelMetaclass
else:

    class OptionDocs(type(BaseModel)):
        """Appends the options of a class to its docstring.

        A metaclass, because `help` ignores a descriptor in the class itself.
        """

        __doc__ = property(docstring_of, type.__dict__["__doc__"].__set__)

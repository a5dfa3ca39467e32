"""What `help` says of options: the text beneath each field, with its type, default and aliases.

It is read from the source, and only when somebody asks, since no import should pay for it.
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
"""Of a line; `help` puts four more characters before it."""


def docstring_of(model: type[BaseModel]) -> str | None:
    """Return a class's own docstring and its options; `None` where it has no docstring."""
    own: str | None = model.__dict__.get("__doc__")
    return own and f"{inspect.cleandoc(own)}\n\n{describe_options(model)}"


def describe_options(model: type[BaseModel]) -> str:
    """Return the section of a docstring that says what each option of a class is.

    Types, defaults and aliases are those of the fields. Where the source is not at hand, as in a
    program packed without it, there is nothing more.
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
    """Return what stands beneath each field in the body of a class, in one line."""
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
    known_as = f"Also taken as {' or '.join(f'`{alias}`' for alias in also)}." if also else ""
    return f"{name} ({head}): {text} {known_as}".strip()


def _type_name(annotation: Any) -> str:
    """Return a type as a reader knows it: alternatives side by side, and no constraints."""
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


if TYPE_CHECKING:  # type checkers know pydantic's own metaclass, and what it makes of fields
    from pydantic._internal._model_construction import ModelMetaclass

    OptionDocs = ModelMetaclass
else:

    class OptionDocs(type(BaseModel)):
        """Lets the docstrings of classes end with their options.

        A metaclass, since `help` looks past a descriptor that stands in the class itself.
        """

        __doc__ = property(docstring_of, type.__dict__["__doc__"].__set__)

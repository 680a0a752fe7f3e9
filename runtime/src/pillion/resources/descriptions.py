"""Reads the docstrings of fields from the source, for `kubectl explain` and the reference pages.

pydantic can do this at import (`use_attribute_docstrings`); here it is done only when a schema is generated, because
parsing the source of every model would double the start time of the CLI.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from itertools import pairwise

from pillion.resources.base import ResourceModel


@cache
def field_descriptions(model: type[ResourceModel]) -> dict[str, str]:
    """Return the docstring of each field of `model`, by attribute name, inherited ones included."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, ResourceModel) and base is not ResourceModel:
            found |= _own(base)
    return found


def class_description(model: type[ResourceModel]) -> str:
    """Return the first paragraph of the class' docstring as one line."""
    return _one_line((model.__dict__.get("__doc__") or "").split("\n\n")[0])


def _own(model: type[ResourceModel]) -> dict[str, str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(model)))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found: dict[str, str] = {}
    for statement, following in pairwise(body):
        match statement, following:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = _one_line(text)
    return found


def _one_line(text: str) -> str:
    return " ".join(text.split())

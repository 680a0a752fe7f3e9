"""What the source says of a name, without importing it: an application, or a model."""

from __future__ import annotations

import ast
import importlib.machinery
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pillion.runtimefile import Code

__all__ = ["is_application"]

_COMPOSITIONS = frozenset({"Ensemble", "Map", "Sequential", "Switch"})


def _source(code: Code) -> Path | None:
    if code.module.endswith(".py"):
        return Path(code.module)
    folder: list[str] | None = [code.folder]
    spec = None
    parts = code.module.split(".")
    for length in range(1, len(parts) + 1):
        name = ".".join(parts[:length])
        spec = importlib.machinery.PathFinder.find_spec(name, folder) or (
            importlib.machinery.PathFinder.find_spec(name) if length == 1 else None
        )
        if spec is None:
            return None
        folder = list(spec.submodule_search_locations or ())
    return None if spec is None or spec.origin is None else Path(spec.origin)


def is_application(code: Code) -> bool:
    """Whether it names one; False where that cannot be told, and for classes of models."""
    path = _source(code)
    if path is None or path.suffix != ".py":
        return False
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False  # who imports it tells better what is wrong
    first, _, rest = code.class_name.partition(".")
    if rest:
        return True  # a model is a class of the module itself
    found: ast.stmt | None = None
    for statement in tree.body:
        if _defines(statement, first):
            found = statement
    if isinstance(found, ast.ClassDef):
        decorators = {ast.unparse(d.func if isinstance(d, ast.Call) else d) for d in found.decorator_list}
        if decorators & {"ingress", "pillion.ingress"}:
            return True
        methods = {s.name for s in found.body if isinstance(s, (ast.FunctionDef, ast.AsyncFunctionDef))}
        bases = {ast.unparse(base).rpartition(".")[2] for base in found.bases}
        return "__call__" in methods and "Model" not in bases
    return found is not None and not _is_composition(found)


def _is_composition(statement: ast.stmt) -> bool:
    """Whether it is ``flow = pillion.Sequential(...)`` or another of these, which is served as a model."""
    value = statement.value if isinstance(statement, (ast.Assign, ast.AnnAssign)) else None
    return isinstance(value, ast.Call) and ast.unparse(value.func).rpartition(".")[2] in _COMPOSITIONS


def _defines(statement: ast.stmt, name: str) -> bool:
    if isinstance(statement, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return statement.name == name
    if isinstance(statement, ast.Assign):
        return any(isinstance(target, ast.Name) and target.id == name for target in statement.targets)
    return (
        isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.target.id == name
    )

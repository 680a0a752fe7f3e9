"""Whose project is served: the title, version and description that the OpenAPI document has.

The package of the user says it, as it says it everywhere else: ``[project]`` of its ``pyproject.toml``, else what was
installed, else the class itself.
"""

from __future__ import annotations

import inspect
import sys
import tomllib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pillion.authoring.model import Model

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Project", "project_of"]

_FILE: Final = "pyproject.toml"
_UNKNOWN: Final = "0.0.0"


@dataclass(frozen=True, slots=True)
class Project:
    """What a project calls itself."""

    title: str
    version: str
    """``0.0.0`` where nothing says one."""
    description: str = ""


def project_of(classes: Iterable[type[Any]]) -> Project | None:
    """The project that all of these classes are of; None where there is none, or where there are several. Blocking."""
    found = {_project(cls) for cls in classes if cls.__module__.partition(".")[0] != "pillion"}
    return found.pop() if len(found) == 1 else None


def _project(cls: type[Any]) -> Project:
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None)
    version = str(getattr(module, "__version__", None) or _UNKNOWN)
    declared = None if file is None else _declared(Path(file), version)
    return declared or _installed(cls.__module__) or Project(cls.__name__, version, _described(cls))


def _described(cls: type[Any]) -> str:
    """Its own docstring: that of :class:`~pillion.Model` says nothing of the user's."""
    own = cls.__doc__
    return "" if own is None or own == Model.__doc__ else inspect.cleandoc(own)


def _declared(file: Path, version: str) -> Project | None:
    """What the ``pyproject.toml`` says that lies beside the module, its package, or the ``src`` that holds it."""
    folder = file.resolve().parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    for place in (folder, folder.parent) if folder.name == "src" else (folder,):
        try:
            table = tomllib.loads((place / _FILE).read_text(encoding="utf-8")).get("project")
        except (OSError, ValueError):  # a file that cannot be read names nobody; whoever installs it is told why
            continue
        if isinstance(table, dict) and isinstance(table.get("name"), str):
            return Project(table["name"], str(table.get("version") or version), str(table.get("description") or ""))
    return None


def _installed(module: str) -> Project | None:
    """What the distribution says that the module came with."""
    names = packages_distributions().get(module.partition(".")[0], [])
    if len(set(names)) != 1:
        return None
    try:
        found = metadata(names[0])
    except PackageNotFoundError:
        return None
    return Project(found["Name"], found["Version"], found["Summary"] or "")

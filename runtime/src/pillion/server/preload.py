"""The libraries of a server, imported cheaply: before our own modules, and without what a server has no use for.

Two things cost a start more than they look. A chain of imports nests, some six frames of the interpreter for each
module: where it passes the edge of a chunk of its stack, each call there maps and unmaps memory (eight hundred pairs,
when NumPy was imported fifteen modules deep). And ``import uvicorn`` runs its command line, click with it, a tenth of
the time that all libraries take.
"""

from __future__ import annotations

import sys
import threading
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["import_libraries", "import_the_rest", "without_command_line"]

_LIBRARIES: Final = ("numpy", "msgspec", "orjson", "uvloop", "grpc", "uvicorn.protocols.http.httptools_impl")
_LATER: Final = ("pillion.protocol.v1", "pillion.protocol.invocations")


def import_libraries() -> None:
    """What every server needs. To be called after the environment of numerical libraries is set, and before our own
    modules are imported.
    """
    without_command_line()
    for name in _LIBRARIES:
        import_module(name)


def import_the_rest() -> None:
    """What requests of other protocols need, so that the first of them does not wait for it. Any thread may call it."""
    for name in _LATER:
        import_module(name)


def without_command_line() -> ModuleType | None:
    """Have the package ``uvicorn`` with an ``__init__`` that runs when something is asked for that only it has.

    Everything else is as after ``import uvicorn``: submodules are found, ``uvicorn.Config`` is there because a
    submodule takes it from the package, and ``uvicorn.run`` or ``uvicorn.Server`` bring the rest. Nothing is done where
    uvicorn is imported already, or missing: then whoever imports it is told.

    Returns:
        The package, None where nothing was done.
    """
    spec = None if "uvicorn" in sys.modules else find_spec("uvicorn")
    if spec is None or spec.loader is None:
        return None
    package, loader, lock = module_from_spec(spec), spec.loader, threading.RLock()

    def whole(name: str) -> Any:  # noqa: ANN401 - whatever the package has
        with lock:
            if vars(package).pop("__getattr__", None) is not None:
                loader.exec_module(package)
        try:
            return vars(package)[name]
        except KeyError:
            raise AttributeError(f"module 'uvicorn' has no attribute {name!r}") from None

    vars(package)["__getattr__"] = whole
    sys.modules["uvicorn"] = package
    vars(package)["Config"] = import_module("uvicorn.config").Config
    return package

"""How a command fails: a sentence on standard error and an exit code, never a traceback."""

from __future__ import annotations

import sys
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["CLUSTER", "EXIT_CODES", "SAY_WHY", "TLS_MATERIAL", "CommandError", "missing_extra", "text_of", "unreadable"]

CLUSTER: Final = 5
"""The exit code where a cluster cannot be reached, refuses, or does not have the object."""

TLS_MATERIAL: Final = 4
"""The exit code where certificates or keys cannot be used."""

SAY_WHY: Final = ("pillion.repository.repository", "pillion.server.runtime")
"""Loggers of why a model does not load. The command says that itself, so a person at a terminal reads it once."""

EXIT_CODES = (
    "Exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 a port cannot be bound, 4 TLS material, "
    "5 the cluster: not reachable, not allowed, or no such object."
)


class CommandError(Exception):
    """A command cannot do what was asked; the text says why and what to do."""

    def __init__(self, message: str, *, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def unreadable(what: str, error: OSError | UnicodeDecodeError) -> CommandError:
    """That a file cannot be read, in the words of whoever named it."""
    if isinstance(error, FileNotFoundError):
        return CommandError(f"{what}: no such file", code=2)
    if isinstance(error, UnicodeDecodeError):
        return CommandError(f"{what}: is no text in UTF-8", code=2)
    return CommandError(f"{what}: cannot be read: {error.strerror or error}", code=2)


def text_of(file: Path) -> str:
    """The text of a file that was named, or of standard input for ``-``.

    Raises:
        CommandError: it cannot be read.
    """
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(str(file), error) from None


_SERVE: Final = ("cryptography", "fastapi", "grpc", "httptools", "numpy", "orjson", "prometheus_client", "google")
_EXTRAS: Final = {"obstore": "storage"} | dict.fromkeys((*_SERVE, "pydantic_settings", "uvicorn", "uvloop"), "serve")
"""The extra that brings a package which the base install leaves out."""


_BACKENDS: Final = {
    ".skops": "sklearn",
    ".joblib": "sklearn",
    ".pkl": "sklearn",
    ".pickle": "sklearn",
    ".onnx": "onnx",
    ".ubj": "xgboost",
}
"""The extra of the backend that a file's ending asks for, where that leaves no doubt."""


def missing_extra(error: ModuleNotFoundError, arguments: Sequence[str] = ()) -> CommandError | None:
    """What to install where a package of an extra is not there; None for a module that no extra brings.

    ``arguments`` are those of the command: who serves a file is told of its backend's extra as well, not next time.
    """
    package = (error.name or "").partition(".")[0]
    extra = _EXTRAS.get(package)
    if extra is None:
        return None
    extras = {extra: None}
    if extra == "serve" and arguments[:1] in (["serve"], ["run"]):
        endings = (PurePath(argument).suffix.lower() for argument in arguments[1:])
        extras |= dict.fromkeys(_BACKENDS[ending] for ending in endings if ending in _BACKENDS)
    wanted = ",".join(extras)
    return CommandError(f"this command needs {package}, which is not installed: pip install 'pillion[{wanted}]'")

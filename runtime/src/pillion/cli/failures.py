"""How a command fails: a sentence on standard error and an exit code, never a traceback."""

from __future__ import annotations

from typing import Final

__all__ = ["CLUSTER", "EXIT_CODES", "CommandError", "missing_extra", "unreadable"]

CLUSTER: Final = 5
"""The exit code where a cluster cannot be reached, refuses, or does not have the object."""

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


_SERVE: Final = ("cryptography", "fastapi", "grpc", "httptools", "numpy", "orjson", "prometheus_client", "google")
_EXTRAS: Final = {"obstore": "storage"} | dict.fromkeys((*_SERVE, "pydantic_settings", "uvicorn", "uvloop"), "serve")
"""The extra that brings a package which the base install leaves out."""


def missing_extra(error: ModuleNotFoundError) -> CommandError | None:
    """What to install where a package of an extra is not there; None for a module that no extra brings."""
    package = (error.name or "").partition(".")[0]
    extra = _EXTRAS.get(package)
    if extra is None:
        return None
    return CommandError(f"this command needs {package}, which is not installed: pip install 'pillion[{extra}]'")

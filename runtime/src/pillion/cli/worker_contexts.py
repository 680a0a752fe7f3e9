"""``pillion serve --worker-context FILE``: what a file says to each worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from pillion.cli.failures import CommandError
from pillion.worker_context import WorkerContext, pack

if TYPE_CHECKING:
    from pathlib import Path

    from pillion.runtimefile import RuntimeFile

__all__ = ["ContextsFile"]

_OPTION = "--worker-context"


class ContextsFile:
    """The file, read when this is made.

    Args:
        file: a list in JSON or YAML.
        runtime_file: what is served.

    Raises:
        CommandError: it is no list, or there is no application to give its entries to.
    """

    def __init__(self, file: Path, runtime_file: RuntimeFile) -> None:
        self._file = file.absolute()
        self._runtime_file = runtime_file
        self._entries = _read(file, runtime_file)

    def packed(self, workers: int) -> tuple[bytes, ...]:
        """One for each worker.

        Raises:
            CommandError: there are not as many.
        """
        try:
            return pack(self._entries, workers, named=_OPTION)
        except ValueError as error:
            raise CommandError(str(error), code=2) from None

    def packed_again(self, workers: int) -> tuple[bytes, ...]:
        """The same of what the file says now, for workers that replace others.

        Raises:
            ValueError: it is none any more, or there are not as many.
        """
        try:
            return pack(_read(self._file, self._runtime_file), workers, named=_OPTION)
        except CommandError as error:
            raise ValueError(str(error)) from None

    def only(self) -> WorkerContext:
        """That of a server that is one process.

        Raises:
            CommandError: there is not exactly one.
        """
        self.packed(1)
        return WorkerContext(self._entries[0])


def _read(file: Path, runtime_file: RuntimeFile) -> list[object]:
    if not runtime_file.applications:
        raise CommandError(f"{_OPTION} is an application's, and there is none among what is served", code=2)
    try:
        found = yaml.safe_load(file.read_text())
    except OSError as error:
        raise CommandError(f"{_OPTION} {file}: {error.strerror}", code=2) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CommandError(f"{_OPTION} {file} is neither JSON nor YAML: {error}", code=2) from None
    if not isinstance(found, list):
        raise CommandError(
            f"{_OPTION} {file} has to be a list with an entry for each worker, and is of type {type(found).__name__}",
            code=2,
        )
    return found

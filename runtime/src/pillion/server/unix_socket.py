"""The unix sockets that settings ask for, and what is said where one cannot be made."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pillion.server.failures import ExitCode, StartError
from pillion.server.sources import flag_of, variable_of
from pillion.socket_file import SocketFile

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from pillion.server.settings import GrpcSettings, HttpSettings

__all__ = ["UnixSocket", "unix_socket"]

_BACKLOG = 2048


class UnixSocket:
    """A socket file of ours.

    Args:
        path: of the file.
        mode: its permission bits: who may connect.
        setting: that names the path, for messages.
        what: it is, for messages.
    """

    def __init__(self, path: str, mode: int, *, setting: str, what: str) -> None:
        self.path = Path(path).absolute()
        self._file = SocketFile(str(self.path), mode)
        self._setting = setting
        self._what = what

    def bind(self) -> socket.socket:
        """A listening socket.

        Raises:
            StartError: the path cannot be used, or another process answers on it.
        """
        with self._told():
            return self._file.listen(_BACKLOG)

    def bound_by(self, bind: Callable[[str], object]) -> None:
        """Have somebody else bind the path, who then listens.

        Raises:
            StartError: as :meth:`bind`.
        """

        def bind_for_us_alone(path: str) -> None:
            # No moment at which others could connect: the file is made for nobody else, then opened to who may.
            mask = os.umask(0o177)
            try:
                bind(path)
            finally:
                os.umask(mask)

        with self._told():
            self._file.bound_by(bind_for_us_alone)

    def remove(self) -> None:
        """Remove the file, if it is still ours."""
        self._file.remove()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or error
            raise StartError(
                ExitCode.BIND,
                f"cannot make the {self._what} {self.path}: {why}: choose another with "
                f"{flag_of(self._setting)} or {variable_of(self._setting)}, or leave it empty",
            ) from error


def unix_socket(settings: HttpSettings | GrpcSettings, section: str) -> UnixSocket | None:
    """Where a data port answers beside its address; None where nowhere."""
    if not settings.socket:
        return None
    mode = int(settings.socket_mode, 8)
    return UnixSocket(settings.socket, mode, setting=f"{section}.socket", what=f"{section} socket")

"""Unix sockets: one that a dead process left is replaced, one that a live process answers on is not."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from pillion.server.failures import ExitCode, StartError
from pillion.server.sources import flag_of, variable_of

if TYPE_CHECKING:
    from collections.abc import Callable

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
        self._mode = mode
        self._setting = setting
        self._what = what
        self._identity: tuple[int, int] | None = None

    def bind(self) -> socket.socket:
        """A listening socket.

        Raises:
            StartError: the path cannot be used, or another process answers on it.
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.bound_by(listener.bind)
            listener.listen(_BACKLOG)
        except StartError:
            listener.close()
            raise
        listener.setblocking(False)
        return listener

    def bound_by(self, bind: Callable[[str], object]) -> None:
        """Have somebody else bind the path, who then listens.

        Raises:
            StartError: as :meth:`bind`.
        """
        try:
            self._clear_stale()
            # No moment at which others could connect: the file is made for nobody else, then opened to who may.
            mask = os.umask(0o177)
            try:
                bind(str(self.path))
            finally:
                os.umask(mask)
            self.path.chmod(self._mode)
            made = self.path.stat()
        except (OSError, RuntimeError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or error
            raise StartError(
                ExitCode.BIND,
                f"cannot make the {self._what} {self.path}: {why}: choose another with "
                f"{flag_of(self._setting)} or {variable_of(self._setting)}, or leave it empty",
            ) from error
        self._identity = (made.st_dev, made.st_ino)

    def remove(self) -> None:
        """Remove the file, if it is still ours."""
        try:
            now = self.path.stat()
            if (now.st_dev, now.st_ino) == self._identity:
                self.path.unlink()
        except OSError:
            pass

    def _clear_stale(self) -> None:
        try:
            mode = self.path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise FileExistsError(17, "a file that is no socket is in the way")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(self.path))
            except (ConnectionRefusedError, FileNotFoundError):
                self.path.unlink(missing_ok=True)
                return
        raise FileExistsError(17, "another process listens on it")


def unix_socket(settings: HttpSettings | GrpcSettings, section: str) -> UnixSocket | None:
    """Where a data port answers beside its address; None where nowhere."""
    if not settings.socket:
        return None
    mode = int(settings.socket_mode, 8)
    return UnixSocket(settings.socket, mode, setting=f"{section}.socket", what=f"{section} socket")

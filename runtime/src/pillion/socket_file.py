"""The files of unix sockets: one that a dead process left is replaced, one that a live process answers on is not."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["SocketFile"]

_PROBE_SECONDS = 1.0
_AGAIN_SECONDS = 0.01


class SocketFile:
    """The file of a unix socket: one that a dead process left is replaced, one that a live process answers on is not.

    Args:
        path: of the file.
        mode: its permission bits: who may connect.
    """

    def __init__(self, path: str, mode: int) -> None:
        self._path = Path(path)
        self._mode = mode
        self._identity: tuple[int, int] | None = None

    def listen(self, backlog: int) -> socket.socket:
        """A listening socket.

        Raises:
            OSError: the path cannot be used, or another process answers on it.
        """
        with _held(self._path.parent):
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                # Nobody can connect before it listens. The umask is left alone: it is that of the other threads, too.
                self._bound_by(listener.bind)
                listener.listen(backlog)
            except BaseException:
                listener.close()
                self.remove()
                raise
        listener.setblocking(False)
        return listener

    def bound_by(self, bind: Callable[[str], object]) -> None:
        """Have somebody else bind the path, who listens there at once or soon.

        Raises:
            OSError: as :meth:`listen`.
        """
        with _held(self._path.parent):
            self._bound_by(bind)

    def _bound_by(self, bind: Callable[[str], object]) -> None:
        self._clear_stale()
        bind(str(self._path))
        made = self._path.stat()
        self._identity = (made.st_dev, made.st_ino)
        self._path.chmod(self._mode)

    def remove(self) -> None:
        """Remove the file, if it is still ours."""
        with contextlib.suppress(OSError):
            now = self._path.stat()
            if (now.st_dev, now.st_ino) == self._identity:
                self._path.unlink()

    def _clear_stale(self) -> None:
        try:
            mode = self._path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise FileExistsError(17, "a file that is no socket is in the way", str(self._path))
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(_PROBE_SECONDS)
            try:
                probe.connect(str(self._path))
            except (ConnectionRefusedError, FileNotFoundError):
                self._path.unlink(missing_ok=True)
                return
            except (BlockingIOError, TimeoutError):
                pass  # somebody listens whose queue is full
        raise FileExistsError(17, "another process listens on it", str(self._path))


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Let servers look and listen one after the other: else one would take another's new file for a dead one's.

    Whoever may read the folder can hold it for longer, so that is not waited for without end.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        yield
        return
    try:
        deadline = time.monotonic() + 2 * _PROBE_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(_AGAIN_SECONDS)
        yield
    finally:
        os.close(descriptor)

"""A line to a database that is cut when a word has been sent: what was said has arrived, its answer never comes."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CutLine", "cut_line"]


class CutLine:
    """Passes on what both sides say, on a port of loopback."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.word = b""
        """Once this has been sent, its answer is thrown away, and the line is cut; empty for never."""
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                lost = threading.Event()
                threading.Thread(target=self._ask, args=(client, server, lost), daemon=True).start()
                threading.Thread(target=self._answer, args=(client, server, lost), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket, lost: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while text := client.recv(65536):
                if self.word and self.word in text:
                    lost.set()
                    self.word = b""
                server.sendall(text)
            server.shutdown(socket.SHUT_WR)

    def _answer(self, client: socket.socket, server: socket.socket, lost: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while text := server.recv(65536):
                if lost.is_set():
                    self.cuts += 1
                    break
                client.sendall(text)
        for one in (client, server):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@contextlib.contextmanager
def cut_line(target: int) -> Iterator[CutLine]:
    line = CutLine(target)
    try:
        yield line
    finally:
        line.close()

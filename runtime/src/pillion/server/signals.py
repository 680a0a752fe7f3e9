"""SIGTERM and SIGINT, without taking them away from the program that embeds the server."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

__all__ = ["HANDLED", "handled"]

HANDLED: Final = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def handled(react: Callable[[signal.Signals], None], numbers: Sequence[signal.Signals] = HANDLED) -> Iterator[None]:
    """Call ``react`` on each of the signals while the block runs.

    Handlers that the host program had installed run as well, after ``react``; what they raise (``SystemExit`` is usual)
    is held back until the block has ended, so that it cannot cut the drain short. All handlers are restored on leaving.
    Outside the main thread nothing is installed: Python allows it only there, and the host owns its signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.getsignal(number) for number in numbers}
    raised: list[BaseException] = []

    def handle(number: int, frame: FrameType | None) -> None:
        react(signal.Signals(number))
        host = previous[signal.Signals(number)]
        # Python's own SIGINT handler raises KeyboardInterrupt, which is what the drain replaces.
        if callable(host) and host is not signal.default_int_handler:
            try:
                host(number, frame)
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised again below
                raised.append(error)

    for number in numbers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, host in previous.items():
            # None: installed from C; Python cannot put it back.
            if host is not None:
                signal.signal(number, host)
    if raised:
        raise raised[0]

"""Front workers beside a program: what :class:`~pillion.server.Server` is for one process."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pillion.server.front.supervisor import Supervisor

__all__ = ["FrontServer"]


class FrontServer:
    """See the module's docstring.

    Args:
        supervisor: of the workers, not run yet.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._failure: BaseException | None = None

    @property
    def ports(self) -> dict[str, int]:
        """The real ports by name, also where 0 was asked for."""
        return dict(self._supervisor.ports)

    @property
    def failure(self) -> BaseException | None:
        """What ended it, where it did not end by itself."""
        return self._failure

    def start(self, loaded: threading.Event) -> None:
        """Serve from a thread of its own; signals are left to the program.

        Args:
            loaded: set when it has ended, if it was not before.
        """
        self._thread = threading.Thread(target=self._run, args=(loaded,), name="pillion-supervisor", daemon=True)
        self._thread.start()

    def _run(self, loaded: threading.Event) -> None:
        try:
            self._supervisor.run()
        except BaseException as error:  # noqa: BLE001 - raised again by who waits
            self._failure = error
        finally:
            self._ended.set()
            loaded.set()

    def stop(self, grace_period_seconds: float | None = None) -> None:
        """Have the workers drain, and wait.

        Args:
            grace_period_seconds: what is left after that is cut; None is the setting, 0 cuts now.
        """
        if grace_period_seconds == 0:
            self._supervisor.cut_soon()
        else:
            self._supervisor.stop_soon()
            if grace_period_seconds is not None and not self._ended.wait(grace_period_seconds):
                self._supervisor.cut_soon()
        self._ended.wait()
        if self._thread is not None:
            self._thread.join()

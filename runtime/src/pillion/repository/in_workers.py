"""What is asked of a model in worker processes, each of them by itself.

Imported where a model is asked: a server without such models imports nothing of worker processes.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from pillion.execution.messages import CHECK_HEALTH, RECONFIGURE
from pillion.execution.process import ProcessExecutor
from pillion.execution.remote import RemoteTask
from pillion.execution.roll_call import ask_each

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.execution.worker_link import WorkerLink
    from pillion.repository.served import Served

__all__ = ["NotTakenBackError", "ask", "configure", "processes_of"]

_log: Final = logging.getLogger(__name__)


class NotTakenBackError(Exception):
    """A config was refused by one worker, and another is replaced since it did not take the former one back."""


def _not_taken_back(executor: ProcessExecutor, why: BaseException, number: int) -> NotTakenBackError:
    of, ends = ("1 worker process", "is replaced by one that begins") if number == 1 else (
        f"{number} worker processes", "are replaced by ones that begin"
    )  # fmt: skip
    text = f"{of} did not take the former config back, and {ends} with it"
    _log.warning("model %s: a config was refused; %s", executor.label, text)
    return NotTakenBackError(f"{type(why).__name__}: {why}; {text}")


def processes_of(served: Served) -> ProcessExecutor | None:
    """The worker processes that a model is in, None where it is in this one."""
    return served.executor if isinstance(served.executor, ProcessExecutor) else None


async def ask(executor: ProcessExecutor, seconds: float) -> list[tuple[WorkerLink, BaseException]]:
    """Ask each worker how its model is; those that failed, and how."""
    return await ask_each(executor.links(), lambda: RemoteTask(CHECK_HEALTH, {}), seconds)


async def configure(executor: ProcessExecutor, config: Mapping[str, Any], seconds: float, patience: float) -> int:
    """Give each worker a config, and those that follow them; each may take that long, and compute what it was asked
    before for as long as the patience is. How many took it.

    Raises:
        NotTakenBackError: one refused it, and others that had taken it do not take the former one back: they are
            replaced.
        Exception: what a worker raised that refused it. The others are given the former one again, so that all answer
            alike.
    """
    asked: set[WorkerLink] = set()
    while links := [link for link in executor.links() if link not in asked]:  # others may have taken over meanwhile
        asked.update(links)
        failed = await ask_each(links, lambda: RemoteTask(RECONFIGURE, config), seconds, patience=patience)
        if failed:
            if executor.opening is not None:
                refusing = [link for link, _ in failed]
                others = [link for link in executor.links() if all(link is not one for one in refusing)]
                kept = await ask_each(others, executor.opening, seconds, patience=patience)
                for link, _ in kept:
                    executor.replace(link)  # by one that begins with the former config
                if kept:
                    raise _not_taken_back(executor, failed[0][1], len(kept))
            raise failed[0][1]
    executor.opening = lambda: RemoteTask(RECONFIGURE, config)
    return len(asked)

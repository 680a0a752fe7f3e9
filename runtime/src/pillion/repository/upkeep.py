"""Calls of a model's own methods for no request: beside the server's threads, or on its loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any, Final

from pillion.backends.api import ModelLoadError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pillion.backends.python_upkeep import PythonUpkeep
    from pillion.execution.process import ProcessExecutor
    from pillion.execution.worker_link import WorkerLink
    from pillion.repository.served import Served

__all__ = ["ask_workers", "begun", "configure", "processes_of"]

_log: Final = logging.getLogger(__name__)
_LONGEST: Final = 60.0
"""Seconds that a model may take for a config."""


async def configure(served: Served, config: Mapping[str, Any]) -> None:
    """Give a model that is loaded a config: in worker processes each, and those that follow them.

    Raises:
        ModelLoadError: its class cannot take one.
        Exception: what its ``reconfigure`` raised; the model is as that left it.
    """
    processes = processes_of(served)
    if processes is not None and hasattr(served.model, "tasks"):
        await _configure_workers(processes, config)
        return
    take = getattr(served.model, "reconfigure", None)
    if take is None:
        raise ModelLoadError("it has a config, which only classes in Python take", "take the config out")
    call = begun(take(config))
    await asyncio.wait((call,), timeout=_LONGEST)
    if not call.done():
        call.cancel()  # which a plain method does not notice
        raise TimeoutError(f"it did not end within {_LONGEST:g} s")
    call.result()


def processes_of(served: Served) -> ProcessExecutor | None:
    """The worker processes that a model is in, None where it is in this one."""
    from pillion.execution.process import ProcessExecutor  # noqa: PLC0415 - only who asks a model needs it

    return served.executor if isinstance(served.executor, ProcessExecutor) else None


async def ask_workers(executor: ProcessExecutor, seconds: float) -> list[tuple[WorkerLink, BaseException]]:
    """Ask each worker process how its model is; those that failed, and how."""
    from pillion.execution.messages import CHECK_HEALTH  # noqa: PLC0415 - only models in worker processes need it
    from pillion.execution.remote import RemoteTask  # noqa: PLC0415 - as above
    from pillion.execution.roll_call import ask_each  # noqa: PLC0415 - as above

    return await ask_each(executor.links(), lambda: RemoteTask(CHECK_HEALTH, {}), seconds)


async def _configure_workers(executor: ProcessExecutor, config: Mapping[str, Any]) -> None:
    from pillion.execution.messages import RECONFIGURE  # noqa: PLC0415 - only models in worker processes need it
    from pillion.execution.remote import RemoteTask  # noqa: PLC0415 - as above
    from pillion.execution.roll_call import ask_each  # noqa: PLC0415 - as above

    asked: set[WorkerLink] = set()
    while links := [link for link in executor.links() if link not in asked]:  # others may have taken over meanwhile
        asked.update(links)
        failed = await ask_each(links, lambda: RemoteTask(RECONFIGURE, config), _LONGEST, patient=True)
        if failed:
            await _give_again(executor, [link for link, _ in failed])
            raise failed[0][1]
    executor.opening = lambda: RemoteTask(RECONFIGURE, config)


async def _give_again(executor: ProcessExecutor, refusing: Sequence[WorkerLink]) -> None:
    """Give the former config to the workers that took the one that others refused, so that all answer alike."""
    from pillion.execution.roll_call import ask_each  # noqa: PLC0415 - only models in worker processes need it

    if executor.opening is not None:
        others = [link for link in executor.links() if all(link is not one for one in refusing)]
        await ask_each(others, executor.opening, _LONGEST, patient=True)


def begun(call: PythonUpkeep) -> asyncio.Future[Any]:
    """Begin a call, in a thread of its own where it is a plain method.

    One that hangs must hold none that requests need, nor the end of the process.
    """
    loop = asyncio.get_running_loop()
    if call.asynchronous:
        return loop.create_task(call.predict_async((), ()))
    answer: asyncio.Future[None] = loop.create_future()

    def tell(error: BaseException | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(None)
        else:
            answer.set_exception(error)

    def body() -> None:
        error: BaseException | None = None
        try:
            call.predict((), (), None)
        except StopIteration as raised:  # which a future does not take
            error = RuntimeError(str(raised) or "StopIteration")
        except BaseException as raised:  # noqa: BLE001 - the author's method may raise anything
            error = raised
        try:
            loop.call_soon_threadsafe(tell, error)
        except RuntimeError:
            _log.debug("an answer came after the server had ended")

    threading.Thread(target=body, name="upkeep", daemon=True).start()
    return answer

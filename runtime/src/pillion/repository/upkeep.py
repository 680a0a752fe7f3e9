"""Calls of a model's own methods for no request: beside the server's threads, or on its loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any, Final

from pillion.backends.api import ModelLoadError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.backends.python_upkeep import PythonUpkeep
    from pillion.repository.served import Served

__all__ = ["StillBusyError", "begun", "configure"]

_log: Final = logging.getLogger(__name__)
_LONGEST: Final = 60.0
"""Seconds that a model may take for a config."""


class StillBusyError(TimeoutError):
    """An earlier call has not ended yet."""


async def configure(served: Served, config: Mapping[str, Any], patience: float) -> int:
    """Give a model that is loaded a config: in worker processes each, and those that follow them.

    Returns how many worker processes took it; 0 where the model is in this one.

    Args:
        served: the model.
        config: for its class.
        patience: seconds that a worker process may still compute what it was asked before.

    Raises:
        ModelLoadError: its class cannot take one.
        StillBusyError: an earlier call has not ended yet.
        TimeoutError: it does not end.
        Exception: what its ``reconfigure`` raised; the model is as that left it.
    """
    from pillion.repository import in_workers  # noqa: PLC0415 - few models have a config

    processes = in_workers.processes_of(served)
    if processes is not None and hasattr(served.model, "tasks"):
        return await in_workers.configure(processes, config, _LONGEST, patience)
    take = getattr(served.model, "reconfigure", None)
    if take is None:
        raise ModelLoadError("it has a config, which only classes in Python take", "take the config out")
    former = served.configuring
    if former is not None and not former.done():
        # One more would be one more thread that nobody gets back.
        raise StillBusyError(
            "it is still busy with the config before, and is given no other until that has ended; "
            "where it never does, load the model anew"
        )
    call = served.configuring = begun(take(config))
    await asyncio.wait((call,), timeout=_LONGEST)
    if not call.done():
        call.add_done_callback(_ended_late)
        if isinstance(call, asyncio.Task):
            call.cancel()  # a plain method notices nothing, so its thread is waited for
        raise TimeoutError(f"it did not end within {_LONGEST:g} s")
    served.configuring = None
    call.result()
    return 0


def _ended_late(call: asyncio.Future[Any]) -> None:
    error = None if call.cancelled() else call.exception()
    _log.warning("a reconfigure that took too long has ended%s", f": {error}" if error else "")


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

"""What a supervisor and its front workers say to each other. Both ends are of one version."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from pillion.dataplane.live import LiveRequest  # noqa: TC001 - msgspec reads annotations at run time
from pillion.runtimefile import DesiredApplication, DesiredModel  # noqa: TC001 - as above
from pillion.server.front.families import Family  # noqa: TC001 - as above
from pillion.server.settings import Settings  # noqa: TC001 - as above

__all__ = [
    "FROM_SUPERVISOR",
    "FROM_WORKER",
    "Ask",
    "AskStop",
    "Attached",
    "Begin",
    "Drain",
    "Drained",
    "Failed",
    "FromSupervisor",
    "FromWorker",
    "Last",
    "Settled",
    "View",
]


class _Message(msgspec.Struct, kw_only=True, tag=True):
    """A message; its type is told by its name."""


# --- the supervisor's


class Begin(_Message):
    """The first one: all that a worker is to know."""

    number: int
    """Its place among the workers, from 0."""
    settings: Settings
    """With the real ports."""
    cpus: int
    """Its share of the processors."""
    at_once: bool
    """Whether the data ports are opened before the models are loaded. A worker that replaces another does not: it
    would answer "not ready" to requests that those beside it can answer."""
    models: tuple[DesiredModel, ...] = ()
    applications: tuple[DesiredApplication, ...] = ()
    config: str = ""
    """Path of the runtime.yaml to follow; empty: ``models`` is all there is."""
    extra: dict[str, str] = {}
    """For programs that add to what a worker tells."""
    context: bytes | None = None
    """Its :class:`~pillion.worker_context.WorkerContext`, packed; None: it has none."""
    server_id: str = ""
    """By which ``pillion.stop`` finds the server; empty: it does not."""
    log_config: dict[str, Any] | None = None
    """For :func:`logging.config.dictConfig`, after the settings."""


class Ask(_Message):
    """For a :class:`View`."""

    id: int
    families: bool = False
    live: bool = False


class Drain(_Message):
    """See :meth:`pillion.server.runtime.Runtime.drain`."""

    id: int
    deletion: bool


# --- a worker's


class Attached(_Message):
    """Questions are answered from now on."""


class Settled(_Message):
    """The first models are loaded or have failed, and the data ports are open."""

    ready: bool
    reason: str
    """Why not ready."""
    seconds: float
    told: str = ""
    """What a program around the workers may print."""
    failures: tuple[str, ...] = ()


class Failed(_Message):
    """The worker cannot start: a :class:`~pillion.server.failures.StartError`."""

    code: int
    message: str


class View(_Message):
    """What the admin port may know of a worker."""

    id: int
    ready: bool
    reason: str
    status: dict[str, Any]
    """Its ``/status``."""
    families: list[Family] | None = None
    live: list[LiveRequest] | None = None


class Drained(_Message):
    """A drain has ended."""

    id: int


class AskStop(_Message):
    """An application called ``pillion.stop``: the whole server is to stop."""


class Last(_Message):
    """All that was counted, when the worker ends."""

    families: list[Family]


FromSupervisor = Begin | Ask | Drain
FromWorker = Attached | Settled | Failed | View | Drained | Last | AskStop
FROM_SUPERVISOR: Final = msgspec.msgpack.Decoder(FromSupervisor)
FROM_WORKER: Final = msgspec.msgpack.Decoder(FromWorker)

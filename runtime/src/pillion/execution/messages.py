"""What a server and its worker say to each other."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from pillion.execution.packing import Packed  # noqa: TC001 - msgspec reads annotations at run time

__all__ = [
    "CHECK_HEALTH",
    "EXPLAIN",
    "FROM_WORKER",
    "PREDICT",
    "RECONFIGURE",
    "STREAM",
    "TASK",
    "TO_WORKER",
    "Answered",
    "Ask",
    "Call",
    "Circumstances",
    "Credit",
    "Failed",
    "FromWorker",
    "Item",
    "Load",
    "Ready",
    "Record",
    "Result",
    "ToWorker",
    "Unable",
    "Unasked",
    "Use",
]


PREDICT: Final = 0
TASK: Final = 1
EXPLAIN: Final = 2
STREAM: Final = 3
CHECK_HEALTH: Final = ".check_health"
RECONFIGURE: Final = ".reconfigure"
"""In place of a task's name, which none of the model's is: the question how it is, and a config to take."""
"""What a call asks for. Plain numbers: reading an enumeration costs more than the rest of the message."""


class Use(msgspec.Struct, array_like=True, gc=False):
    """The segment that holds a message's large tensors."""

    number: int
    size: int = 0
    """Where it is new: its bytes. Its descriptor comes with the message."""


class Load(msgspec.Struct, array_like=True, tag=0):
    """The first message: what to load. Python's own serialisation, made and read by the same program."""

    order: bytes


class Circumstances(msgspec.Struct, array_like=True, gc=False):
    """What a call of the user's own code is made for (see :class:`~pillion.authoring.context.Working`)."""

    request_id: str
    deadline: float | None
    """On the monotonic clock, which all processes of a machine share."""
    path: tuple[str, ...]
    traceparent: str = ""
    """Of what it sends to other services."""


class Call(msgspec.Struct, array_like=True, tag=1):
    """Compute ``outputs``, or call something else of the model. ``id`` grows from call to call."""

    id: int
    outputs: tuple[str, ...] = ()
    tensors: list[Packed | None] = []
    segment: Use | None = None
    released: list[int] = []
    """Segments of the receiver that the sender looks at no more."""
    dropped: list[int] = []
    """Segments of the sender that are no more."""
    way: int = PREDICT
    task: str = ""
    arguments: bytes = b""
    """Of the task, by name. Python's own serialisation."""
    room: int = 0
    """Of a stream: items to be sent before the first :class:`Credit`."""
    circumstances: Circumstances | None = None
    """Of the user's own code."""


class Credit(msgspec.Struct, array_like=True, tag=2, gc=False):
    """The reader of a stream has taken items."""

    id: int
    room: int
    """How many more may be sent."""


class Answered(msgspec.Struct, array_like=True, tag=3):
    """What another model answered to an :class:`Ask`."""

    number: int
    value: bytes = b""
    """Python's own serialisation."""
    failure: Failed | None = None


class Ready(msgspec.Struct, array_like=True, tag=0):
    """The model is loaded. Python's own serialisation of what there is to know of it."""

    description: bytes


class Unable(msgspec.Struct, array_like=True, tag=1):
    """The model cannot be loaded."""

    message: str
    remedy: str | None = None
    cause: str | None = None
    files: tuple[str, ...] = ()
    expected: bool = True
    """Whether it is a sentence for the owner rather than an exception of the library."""
    kind: str = ""
    traceback: str = ""


class Result(msgspec.Struct, array_like=True, tag=2):
    """What a call gave."""

    id: int
    seconds: float
    """In the model's code."""
    tensors: list[Packed | None] = []
    segment: Use | None = None
    released: list[int] = []
    dropped: list[int] = []
    value: bytes = b""
    """Of a task, or the explanation. Python's own serialisation of plain data."""


class Failed(msgspec.Struct, array_like=True, tag=3):
    """The exception that a call raised."""

    id: int
    kind: str
    """Name of its type."""
    message: str
    traceback: str = ""
    input_at_fault: bool = False
    """It is a ValueError."""
    type_at_fault: bool = False
    """It is a TypeError."""
    code: str = ""
    """It is a PillionError of this code."""
    field: str | None = None
    remedy: str | None = None
    retry_after: float | None = None
    released: list[int] = []
    problems: list[dict[str, Any]] = []
    """It is an InvalidArguments with these."""


class Record(msgspec.Struct, array_like=True, tag=4):
    """A line for the server's log."""

    level: int
    logger: str
    text: str


class Item(msgspec.Struct, array_like=True, tag=5, gc=False):
    """One item of a stream."""

    id: int
    value: bytes
    """Python's own serialisation of plain data."""


class Ask(msgspec.Struct, array_like=True, tag=6):
    """The code of a call asks for one of another model; of a stream's items, for those that there are."""

    id: int
    """Of the call."""
    number: int
    """Grows with each that a worker asks for. Of a stream: of all that ask for its items."""
    model: str
    way: int
    task: str = ""
    arguments: bytes = b""
    """By name. Python's own serialisation."""
    shield: bool = False


class Unasked(msgspec.Struct, array_like=True, tag=7, gc=False):
    """The code waits for that no more, or has read enough."""

    id: int
    number: int


ToWorker = Load | Call | Credit | Answered
FromWorker = Ready | Unable | Result | Failed | Record | Item | Ask | Unasked

TO_WORKER: Final = msgspec.msgpack.Decoder(ToWorker)
FROM_WORKER: Final = msgspec.msgpack.Decoder(FromWorker)

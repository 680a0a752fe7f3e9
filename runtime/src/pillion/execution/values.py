"""Plain values between a server and its own worker processes: both ends are one program, so Python serialises them.

What cannot go across is told as that. As it is, a TypeError of the serialiser would be taken for one about the input.
"""

from __future__ import annotations

import pickle
from typing import Any

__all__ = ["read_value", "written_value"]


def written_value(value: Any) -> bytes:  # noqa: ANN401 - any plain value
    """A result, or an item of one, for the server.

    Raises:
        RuntimeError: it cannot be sent.
    """
    try:
        return pickle.dumps(value, protocol=5)
    except Exception as error:
        raise RuntimeError(
            f"the result cannot be sent from its worker process: {type(error).__name__}: {error}: return plain values"
        ) from error


def read_value(data: bytes, what: str) -> Any:  # noqa: ANN401 - any plain value
    """What the other end has written.

    Raises:
        RuntimeError: it is of a class that is not there, or that cannot be made again; ``what`` says what it was.
    """
    try:
        return pickle.loads(data)  # noqa: S301 - written by our own program
    except Exception as error:
        raise RuntimeError(
            f"{what} cannot be read: {type(error).__name__}: {error}: its class has to be in a module that the program"
            " and its worker processes import"
        ) from error

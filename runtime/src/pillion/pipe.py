"""A channel between two programs of one user, over two named pipes: ``pipe.Server(path)`` and ``pipe.Client(path)``.

Each side writes a greeting, then messages: length (``u64``), kind (``u8``), and as many bytes. Values are those of
:mod:`pillion.socket.values`; nothing is ever unpickled.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import math
import os
import select
import stat
import struct
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, TypeVar

from pillion.socket.errors import ProtocolError
from pillion.socket.frames import GREETING_BYTES, greeting, read_greeting
from pillion.socket.values import pack, size_of, unpack

if TYPE_CHECKING:
    from collections.abc import Generator

    Buffer = bytes | bytearray | memoryview

__all__ = ["Client", "MessageTooLongError", "Server"]

T = TypeVar("T")

_HEAD: Final = struct.Struct("<QB")
_VALUE: Final = 0
_BYTES: Final = 1
_READ_BYTES: Final = 1024 * 1024
_LOOK_SECONDS: Final = 0.01


class MessageTooLongError(OSError):
    """The next message is longer than was asked for. It is still the next one: nothing of it is lost.

    Attributes:
        size: its bytes.
    """

    def __init__(self, size: int, room: int) -> None:
        super().__init__(errno.EMSGSIZE, f"the next message has {size} bytes, and there is room for {room}")
        self.size = size


class _Until(NamedTuple):
    """What has to come before a side can go on: one of them ready, or for none of them a moment later."""

    readable: tuple[int, ...] = ()
    """Also those whose other end may go away."""
    writable: tuple[int, ...] = ()


class _Pipe:
    """One side. One thread or task may send while another receives; more than one of each take turns by themselves.

    Args:
        path: the pipes are ``{path}.1`` and ``{path}.2``, made with mode 0600. Those that are there are used if
            they are this user's, closed to others, and empty.
        max_bytes: of a message that is received; a longer one ends the channel.

    Raises:
        FileExistsError: another program has this side, or what is there is no pipe of ours.
        OSError: they cannot be made there.
        ValueError: the path is empty.
    """

    _writes = ".1"
    _reads = ".2"

    def __init__(self, path: str | os.PathLike[str], *, max_bytes: int = 1 << 30) -> None:
        if not os.fspath(path):
            raise ValueError("path is empty: name the pipes' file, without the .1 and .2 that are added")
        self._path = str(Path(path).absolute())
        self._max_bytes = max_bytes
        self._output = -1
        self._greeted = False
        self._next: tuple[int, int] | None = None
        self._received = bytearray()
        self._input = -1
        self._reopen()

    # --- values and bytes

    def send(self, value: object, *, timeout: float | None = None) -> None:
        """Send a value: see :mod:`pillion.socket`. Waits for the other side to be there, and to read.

        Raises:
            EOFError: the other side has ended.
            TimeoutError: it was not sent in time. Where part of it had been, the channel is closed.
            TypeError: it cannot be sent.
        """
        _wait(self._send(_VALUE, pack([value])), timeout)

    def recv(self, *, timeout: float | None = None) -> Any:  # noqa: ANN401 - whatever was sent
        """The next message, which is a value.

        Raises:
            EOFError: the other side has ended.
            TimeoutError: none has come whole in time; it is not lost.
            ProtocolError: what has come is none, or one of bytes.
        """
        return unpack(_wait(self._receive(_VALUE, None), timeout))[0]

    def send_bytes(
        self, buf: Buffer, offset: int = 0, size: int | None = None, *, timeout: float | None = None
    ) -> None:
        """Send bytes, or ``size`` of them from ``offset``: one message, whatever their number."""
        _wait(self._send(_BYTES, [_part(buf, offset, size)]), timeout)

    def recv_bytes(self, maxlength: int | None = None, *, timeout: float | None = None) -> bytes:
        """The next message, which is of bytes.

        Raises:
            MessageTooLongError: it is longer than ``maxlength``, and still the next one.
        """
        return _wait(self._receive(_BYTES, maxlength), timeout)

    def recv_bytes_into(self, buf: bytearray | memoryview, offset: int = 0, *, timeout: float | None = None) -> int:
        """Put the next message into a buffer; how many bytes it has.

        Raises:
            MessageTooLongError: there is no room for it from ``offset``; it is still the next one.
        """
        room = _part(buf, offset, None)
        message = _wait(self._receive(_BYTES, room.nbytes), timeout)
        room[: len(message)] = message
        return len(message)

    # --- the same for programs with an event loop

    async def asend(self, value: object, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as send()
        """:meth:`send`, awaited."""
        await _await(self._send(_VALUE, pack([value])), timeout)

    async def arecv(self, *, timeout: float | None = None) -> Any:  # noqa: ANN401, ASYNC109 - as recv()
        """:meth:`recv`, awaited."""
        return unpack(await _await(self._receive(_VALUE, None), timeout))[0]

    async def asend_bytes(
        self,
        buf: Buffer,
        offset: int = 0,
        size: int | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - as send_bytes()
    ) -> None:
        """:meth:`send_bytes`, awaited."""
        await _await(self._send(_BYTES, [_part(buf, offset, size)]), timeout)

    async def arecv_bytes(self, maxlength: int | None = None, *, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - as recv_bytes()
        """:meth:`recv_bytes`, awaited."""
        return await _await(self._receive(_BYTES, maxlength), timeout)

    async def arecv_bytes_into(
        self,
        buf: bytearray | memoryview,
        offset: int = 0,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - as recv_bytes_into()
    ) -> int:
        """:meth:`recv_bytes_into`, awaited."""
        room = _part(buf, offset, None)
        message = await _await(self._receive(_BYTES, room.nbytes), timeout)
        room[: len(message)] = message
        return len(message)

    # --- life

    def close(self) -> None:
        """End this side: the other gets an end of file after what was sent. Any number of times."""
        descriptors, self._input, self._output = (self._input, self._output), -1, -1
        for descriptor in descriptors:
            if descriptor >= 0:
                os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        """What was forgotten is ended as well: the other side waits for its end."""
        with contextlib.suppress(Exception):
            self.close()

    # --- opening

    def _reopen(self) -> None:
        """Open the reading end, which waits for nobody, and hold it against a second program."""
        if self._input >= 0:
            os.close(self._input)
            self._input = -1
        for suffix in (self._writes, self._reads):
            _made(self._path + suffix)
        path = self._path + self._reads
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            _check(os.fstat(descriptor), path)
            _hold(descriptor, path)
        except BaseException:
            os.close(descriptor)
            raise
        self._input = descriptor

    def _met(self) -> bool:
        """Greet the other side, if it reads by now; whether it does."""
        if self._output >= 0:
            return True
        if self._input < 0:
            raise EOFError("this side of the pipe is closed")
        if not _same(self._input, self._path + self._reads):
            self._reopen()  # the other side has ended and removed it, before we met
        path = self._path + self._writes
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno not in (errno.ENXIO, errno.ENOENT):
                raise
            return False
        try:
            _check(os.fstat(descriptor), path)
            os.write(descriptor, greeting(self._max_bytes))  # less than a pipe takes at once
        except BaseException:
            os.close(descriptor)
            raise
        self._output = descriptor
        return True

    # --- out

    def _send(self, kind: int, parts: list[Any]) -> Generator[_Until, None, None]:
        while not self._met():
            yield _Until()
        begun = False
        try:
            for part in (_HEAD.pack(size_of(parts), kind), *parts):
                view = memoryview(part).cast("B")
                while view.nbytes:
                    try:
                        view = view[os.write(self._output, view) :]
                        begun = True
                    except BlockingIOError:
                        yield _Until(writable=(self._output,))
                    except BrokenPipeError:
                        raise EOFError("the other side of the pipe has ended") from None
        except GeneratorExit:
            if begun:
                self.close()  # the other side could not tell where the next message begins
            raise

    # --- in

    def _receive(self, kind: int, room: int | None) -> Generator[_Until, None, bytes]:
        if not self._greeted:
            yield from self._filled(GREETING_BYTES)
            read_greeting(self._received)
            del self._received[:]
            self._greeted = True
        if self._next is None:
            yield from self._filled(_HEAD.size)
            size, sent = _HEAD.unpack(self._received)
            del self._received[:]
            if size > self._max_bytes or sent not in (_VALUE, _BYTES):
                self.close()
                raise ProtocolError(
                    f"a message of {size} bytes has come, and {self._max_bytes} are taken (max_bytes): the channel ends"
                )
            self._next = size, sent
        size, sent = self._next
        if sent != kind:
            ask = "recv_bytes()" if sent == _BYTES else "recv()"
            raise ProtocolError(f"the next message is to be asked for by {ask}; nothing of it is lost")
        if room is not None and size > room:
            raise MessageTooLongError(size, room)
        yield from self._filled(size)
        message = bytes(self._received)
        del self._received[:]
        self._next = None
        return message

    def _filled(self, size: int) -> Generator[_Until, None, None]:
        """Read until there are so many bytes; those that are there already stay."""
        while len(self._received) < size:
            if self._input < 0:
                raise EOFError("this side of the pipe is closed")
            # One that has sent and is gone is not waited for; without a writer so far, a read would look like the end.
            if not _readable(self._input) and not self._met():
                yield _Until()
                continue
            yield _Until(readable=(self._input, self._output) if self._output >= 0 else (self._input,))
            try:
                piece = os.read(self._input, min(size - len(self._received), _READ_BYTES))
            except BlockingIOError:
                continue
            if not piece:
                raise EOFError("the other side of the pipe has ended")
            self._received += piece


class Server(_Pipe):
    """The side that removes the pipes when it is closed."""

    def close(self) -> None:
        """End this side, and remove the pipes: the other gets an end of file after what was sent."""
        ours = self._input >= 0
        paths = [self._path + suffix for suffix in (self._writes, self._reads)] if ours else []
        if ours and not _same(self._input, self._path + self._reads):
            paths = []  # somebody else's by now
        for path in paths:
            with contextlib.suppress(OSError):
                Path(path).unlink()
        super().close()


class Client(_Pipe):
    """The other side."""

    _writes = ".2"
    _reads = ".1"


def _made(path: str) -> None:
    try:
        os.mkfifo(path, 0o600)
    except FileExistsError:
        _check(os.lstat(path), path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None  # of itself it does not say where


def _check(found: os.stat_result, path: str) -> None:
    if not stat.S_ISFIFO(found.st_mode):
        raise FileExistsError(errno.EEXIST, "it is there, and no named pipe", path)
    if found.st_uid != os.geteuid():
        raise FileExistsError(errno.EEXIST, f"it is a pipe of another user ({found.st_uid})", path)
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise FileExistsError(errno.EEXIST, "other users may open it: remove it, or chmod 600", path)


def _same(descriptor: int, path: str) -> bool:
    """Whether a path still names what is open."""
    try:
        now = Path(path).stat()
    except OSError:
        return False
    there = os.fstat(descriptor)
    return (now.st_dev, now.st_ino) == (there.st_dev, there.st_ino)


def _hold(descriptor: int, path: str) -> None:
    """Have it for this program alone."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FileExistsError(errno.EEXIST, "another program reads from it", path) from None
    # The other side greets whoever reads, and may have done so since the reading end was opened. What is shorter is no
    # greeting, and what is long but none is refused when it is read.
    waiting = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))[0]
    if 0 < waiting < GREETING_BYTES:
        raise FileExistsError(errno.EEXIST, f"{waiting} bytes for somebody else are in it", path)


def _readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _part(buf: Buffer, offset: int, size: int | None) -> memoryview:
    view = memoryview(buf).cast("B")
    end = view.nbytes if size is None else offset + size
    if not 0 <= offset <= end <= view.nbytes:
        raise ValueError(f"offset={offset} and size={size} lie outside of a buffer of {view.nbytes} bytes")
    return view[offset:end]


def _wait(steps: Generator[_Until, None, T], seconds: float | None) -> T:
    """Take the steps, blocking where one has to wait."""
    deadline = None if seconds is None else time.monotonic() + seconds
    with contextlib.closing(steps):
        while True:
            try:
                until = next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            poll = select.poll()
            for descriptor in until.readable:
                poll.register(descriptor, select.POLLIN)
            for descriptor in until.writable:
                poll.register(descriptor, select.POLLOUT)
            unready = not (until.readable or until.writable)
            most = _LOOK_SECONDS if unready and (left is None or left > _LOOK_SECONDS) else left
            if not poll.poll(None if most is None else math.ceil(most * 1000)) and most == left:
                raise TimeoutError(_late(seconds))


async def _await(steps: Generator[_Until, None, T], seconds: float | None) -> T:
    """Take the steps, letting the event loop run where one has to wait."""
    try:
        async with asyncio.timeout(seconds):
            with contextlib.closing(steps):
                while True:
                    try:
                        until = next(steps)
                    except StopIteration as end:
                        result: T = end.value
                        return result
                    await _ready(until)
    except TimeoutError:
        raise TimeoutError(_late(seconds)) from None


async def _ready(until: _Until) -> None:
    if not (until.readable or until.writable):
        await asyncio.sleep(_LOOK_SECONDS)
        return
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    for descriptor in until.readable:
        loop.add_reader(descriptor, _set, ready)
    for descriptor in until.writable:
        loop.add_writer(descriptor, _set, ready)
    try:
        await ready
    finally:
        for descriptor in until.readable:
            loop.remove_reader(descriptor)
        for descriptor in until.writable:
            loop.remove_writer(descriptor)


def _late(seconds: float | None) -> str:
    return f"the other side of the pipe did not come, send or read within {seconds:g} s"


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)

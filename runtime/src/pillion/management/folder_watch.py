"""A folder whose entries are models: what appears is served, what changes is served anew, what goes is let go.

Each entry is a model called as ``pillion serve ENTRY`` would call it: a file, or a folder in any layout that is found
out from its files. An entry is only looked into once it has not changed for a while, since whoever copies a model there
needs a while, too; one that holds a file :data:`INCOMPLETE` is left alone as long as it does, and so are names that
begin with a dot or end like a download.

The folder is looked at each second, which works on every volume, also for changes from other machines.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import os
import re
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from pillion.errors import PillionError
from pillion.management.audit import Who, audited
from pillion.modelstore import FailedLoad, check_name
from pillion.runtimefile import DesiredModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pillion.management.interfaces import Plane

__all__ = ["INCOMPLETE", "FolderWatch", "Look", "WatchSettings", "look_at", "model_of", "settled"]

_log = logging.getLogger(__name__)
INCOMPLETE: Final = ".incomplete"
"""Name of a file inside a folder that is still being filled."""
_DOWNLOADS: Final = (".tmp", ".part", ".partial", ".crdownload", ".download", ".swp", "~")
_SUFFIXES: Final = re.compile(
    r"\.(skops|onnx|joblib|pkl|pickle|json|ubj|txt|bst|pt2|pt|pth|safetensors)$", re.IGNORECASE
)
_MOST_FILES: Final = 20_000

Print = tuple[tuple[str, int, int, int], ...]
"""Name, inode, size and time of every file of an entry: another one says that something is being done to it."""


class WatchSettings(msgspec.Struct, frozen=True):
    """What to watch, and how."""

    folder: Path
    interval: float = 1.0
    quiet: float = 2.0
    """Seconds without a change after which an entry counts as complete."""
    lazy: bool = False
    allow_pickle: bool = False


class Look(msgspec.Struct, frozen=True):
    """The entries at a moment: what each looks like, and since when it has."""

    seen: Mapping[str, tuple[Print, float]]


def model_of(entry: str) -> str | None:
    """The name of the model that an entry of the folder is; None for what is none."""
    if entry.startswith(".") or entry.lower().endswith(_DOWNLOADS):
        return None
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", _SUFFIXES.sub("", entry))
    try:
        return check_name(name)
    except PillionError:
        return None


def look_at(folder: Path, before: Look, now: float) -> Look:
    """The entries as they are; a time stays what it was where nothing changed. Blocking."""
    seen: dict[str, tuple[Print, float]] = {}
    with os.scandir(folder) as entries:
        found = sorted(entry.name for entry in entries)
    for name in found:
        if model_of(name) is None:
            continue
        try:
            fingerprint = _fingerprint(folder / name)
        except OSError:
            continue  # it goes while we look
        if not fingerprint:
            continue
        known = before.seen.get(name)
        seen[name] = known if known is not None and known[0] == fingerprint else (fingerprint, now)
    return Look(seen)


def settled(look: Look, quiet: float, now: float) -> dict[str, Print]:
    """The entries that count as complete."""
    return {
        name: fingerprint
        for name, (fingerprint, since) in look.seen.items()
        if now - since >= quiet and not any(file.rpartition("/")[2] == INCOMPLETE for file, *_ in fingerprint)
    }


def _fingerprint(entry: Path) -> Print:
    found = entry.lstat()
    if stat.S_ISREG(found.st_mode):
        return (("", found.st_ino, found.st_size, found.st_mtime_ns),)
    if not stat.S_ISDIR(found.st_mode):
        return ()  # links lead elsewhere
    files: list[tuple[str, int, int, int]] = []
    for folder, _, names in os.walk(entry):
        for name in names:
            path = Path(folder) / name
            inner = path.lstat()
            files.append((path.relative_to(entry).as_posix(), inner.st_ino, inner.st_size, inner.st_mtime_ns))
        if len(files) > _MOST_FILES:
            return ()
    return tuple(sorted(files))


class FolderWatch:
    """Keeps what is served in line with a folder.

    Args:
        plane: what serves.
        settings: the folder.
        failed: told the model and why it is not served, or None once it is, or is gone.
    """

    def __init__(self, plane: Plane, settings: WatchSettings, failed: Callable[[str, FailedLoad | None], None]) -> None:
        self._plane = plane
        self._settings = settings
        self._failed = failed
        self._look = Look({})
        self._tried: dict[str, Print] = {}
        """What was made of each entry last, whatever came of it."""
        self._served: dict[str, tuple[str, ...]] = {}
        self._versions: dict[str, int] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._who = Who(f"folder {settings.folder}")

    async def begin(self) -> None:
        """Serve what is there now: at a start nobody is copying, or the entry is seen to change and loaded again."""
        await self._turn(quiet=0.0)

    async def watch(self) -> None:
        """Follow the folder for ever."""
        while True:
            await asyncio.sleep(self._settings.interval)
            await self._turn(self._settings.quiet)

    async def _turn(self, quiet: float) -> None:
        folder, now = self._settings.folder, time.monotonic()
        try:
            self._look = await asyncio.to_thread(look_at, folder, self._look, now)
        except OSError as error:
            # A volume that is gone for a moment is no reason to stop serving.
            _log.warning("the watched folder %s cannot be read: %s", folder, error.strerror)
            return
        gone = [entry for entry in self._tried if entry not in self._look.seen]
        fresh = {
            entry: found for entry, found in settled(self._look, quiet, now).items() if self._tried.get(entry) != found
        }
        await asyncio.gather(*(self._leave(entry) for entry in gone))
        await asyncio.gather(*(self._come(entry, found) for entry, found in sorted(fresh.items())))

    async def _come(self, entry: str, found: Print) -> None:
        self._tried[entry] = found
        name = model_of(entry)
        if name is None:
            return
        former = self._served.get(entry, ())
        self._versions[name] = self._versions.get(name, 0) + 1
        version = str(self._versions[name])
        if self._plane.declares(name) or (not former and self._plane.added(name)):
            _log.error("%s is not served: a model is called %r already", self._settings.folder / entry, name)
            return
        wanted = DesiredModel(
            name=name,
            version=version,
            path=str(self._settings.folder / entry),
            allow_pickle=self._settings.allow_pickle,
        )
        try:
            with audited("deploy", name, self._who) as told:
                told["version"] = version
                await self._plane.add(wanted, lazy=self._settings.lazy)
        except PillionError as error:
            self._failed(name, FailedLoad(version, str(error), dt.datetime.now(dt.UTC)))
            return
        self._failed(name, None)
        self._served[entry] = (version,)
        self._let_go(name, former)

    async def _leave(self, entry: str) -> None:
        del self._tried[entry]
        name, versions = model_of(entry) or "", self._served.pop(entry, ())
        self._failed(name, None)
        if versions:
            with audited("undeploy", name, self._who):
                self._let_go(name, versions)

    def _let_go(self, name: str, versions: tuple[str, ...]) -> None:
        """Take versions out now; nobody here waits for their requests to end."""
        task = asyncio.get_running_loop().create_task(self._plane.remove(name, versions))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

"""The keys that callers of the data ports show: one in a setting, or one in each file of a folder that is followed.

A folder is what a Secret is in a pod: a file for each caller, added and removed while the server runs, so that a key is
taken from one caller without the others noticing.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pillion.server.failures import ExitCode, StartError
from pillion.server.settings import require_key
from pillion.server.watch import changes, identity_of
from pillion.transport.authentication import API_KEY_SETTING, ApiKey

if TYPE_CHECKING:
    from pillion.server.settings import Settings
    from pillion.server.token_review import ClusterReviewer
    from pillion.transport.authentication import Callers

__all__ = ["ApiKeys"]

_log = logging.getLogger(__name__)
_FOLDER: Final = "auth.api_keys"
_MOST_BYTES: Final = 4096


class ApiKeys:
    """What both data ports ask callers for.

    Args:
        settings: where the keys are.
        also: a key that is as good, of whoever may change models: they may call them, too, and show one key only.
        interval: seconds between looks at the folder.

    Raises:
        StartError: the folder cannot be used; no spelling of it opens the door.
    """

    def __init__(self, settings: Settings, also: ApiKey | None = None, *, interval: float = 0.5) -> None:
        auth = settings.auth
        # A key is called by where it stands, which it keeps when it is renewed.
        self._fixed = {} if auth.api_key is None else {"auth.api_key": auth.api_key}
        self._folder = Path(auth.api_keys) if auth.api_keys else None
        self._interval = interval
        self._keys: ApiKey | None = None
        if self._folder is not None or self._fixed:
            self._keys = self._read(also)
        self.asked: Callers | None = self._keys
        """None where nobody is asked for anything."""
        self._reviewer: ClusterReviewer | None = None
        if auth.inference_service:
            from pillion.server.token_review import ClusterReviewer  # noqa: PLC0415 - few servers need a client of HTTP
            from pillion.transport.reviewed_tokens import ReviewedTokens  # noqa: PLC0415 - as above

            self._reviewer = ClusterReviewer(auth.inference_service)
            self.asked = ReviewedTokens(self._reviewer, self._keys or also)

    async def close(self) -> None:
        """Close what was opened."""
        if self._reviewer is not None:
            await self._reviewer.close()

    def _read(self, also: ApiKey | None) -> ApiKey:
        setting = API_KEY_SETTING if self._folder is None else _FOLDER
        asked = ApiKey(self._fixed, setting, also)
        if self._folder is not None:
            self._identity = identity_of(self._paths())
            self._take(asked, self._folder, at_start=True)
        return asked

    async def watch(self) -> None:
        """Follow the folder for ever."""
        keys, folder = self._keys, self._folder
        while keys is not None and folder is not None:
            async for _ in changes(self._paths(), since=self._identity, interval=self._interval):
                break
            self._identity = identity_of(self._paths())
            await asyncio.to_thread(self._take, keys, folder)

    def _paths(self) -> tuple[str, ...]:
        """What changes when a key does: the link that the kubelet swaps, the folder of anybody else, or a file."""
        if self._folder is None:
            return ()
        return (str(self._folder), str(self._folder / "..data"), *map(str, _files(self._folder)))

    def _take(self, asked: ApiKey, folder: Path, *, at_start: bool = False) -> None:
        """Read the folder. A file that holds no key lets nobody in: at the start it is an error, later a line in the
        log, and the other keys count.
        """
        keys: dict[str, str] = {}
        problems = [] if folder.is_dir() else [f"{_FOLDER}: {folder} is no folder"]
        for file in _files(folder):
            try:
                keys[f"{_FOLDER}/{file.name}"] = _key_in(file)
            except (OSError, ValueError) as error:
                problems.append(str(error))
        if not keys and not problems:
            problems.append(f"{_FOLDER}: {folder} holds no key, so that nobody could call: add a file with one")
        if problems and at_start:
            raise StartError(ExitCode.USAGE, "; ".join(problems))
        for problem in problems:
            _log.error("%s", problem)
        asked.replace({**self._fixed, **keys})
        if not at_start:
            _log.info("the keys of callers were read again: %d of them in %s", len(keys), _FOLDER)


def _files(folder: Path) -> list[Path]:
    """The files with keys: not what a Secret's volume is made of besides."""
    try:
        return sorted(file for file in folder.iterdir() if not file.name.startswith(".") and file.is_file())
    except OSError:
        return []


def _key_in(file: Path) -> str:
    """The key that the file holds.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds none; names the file and never what is in it.
    """
    with file.open("rb") as opened:
        content = opened.read(_MOST_BYTES + 1)
    where = f"{_FOLDER}: {file}"
    if len(content) > _MOST_BYTES:
        raise ValueError(f"{where} has more than {_MOST_BYTES} bytes, which no header carries")
    key = content.decode("ascii", errors="replace")
    require_key(key, where)
    return key

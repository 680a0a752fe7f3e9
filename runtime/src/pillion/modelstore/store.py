"""A folder of registered model versions that several processes may use, and that survives any crash.

    FOLDER/lock                          held while names are given and versions come or go
    FOLDER/staging/<random>/...          what is no version yet, or no longer
    FOLDER/models/<name>/<number>/       one version: version.json and files/
    FOLDER/models/<name>/model.json      aliases, what is deployed, the highest number given

A version appears by the renaming of a complete and synced folder, and disappears by a renaming back, so there is no
moment at which half of one could be seen. What a process that died left in ``staging`` has no lock on it any more, and
is removed by the next that opens the store. Numbers are never given twice.

Methods block (they read, write and sync files); servers call them from threads.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import logging
import os
import secrets
import shutil
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion.errors import ErrorCode, PillionError
from pillion.modelstore.disk import disk_errors
from pillion.modelstore.names import check_alias, check_name, split_reference
from pillion.modelstore.records import FailedLoad, Ledger, ModelVersion, VersionRecord, checked_metadata
from pillion.modelstore.staging import Staging
from pillion.storage.place import make_directory, sync_directory, write_durably
from pillion.wording import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from pillion.modelstore.records import Trained

__all__ = ["Hold", "ModelStore", "check_new"]

_log = logging.getLogger(__name__)
_RECORD: Final = "version.json"
_LEDGER: Final = "model.json"
# Made once, at the import: msgspec crashes where two threads take the same type apart at once.
_VERSION_RECORD: Final = msgspec.json.Decoder(VersionRecord)
_OF_LEDGER: Final = msgspec.json.Decoder(Ledger)


class Hold:
    """A version that is in use: as long as this is open it cannot be deleted, by no process."""

    def __init__(self, version: ModelVersion, descriptor: int) -> None:
        self.version = version
        self._descriptor: int | None = descriptor

    def close(self) -> None:
        """It is not in use any more."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def check_new(root: Path, name: str, *, field: str = "model_id") -> None:
    """Whether versions of that name can be kept in a store, before there is one.

    Raises:
        PillionError: ``INVALID_ARGUMENT``; no model may be called so. ``CONFLICT``; another is called almost so.
    """
    check_name(name, field=field)
    try:
        known = [entry.name for entry in os.scandir(root / "models")]
    except FileNotFoundError:
        return
    alike = [other for other in known if other.casefold() == name.casefold()]
    if alike and name not in alike:
        raise PillionError(
            ErrorCode.CONFLICT,
            f"{field}: a model is called {alike[0]!r}, which differs from {name!r} in capitals only",
            field=field,
            remedy="use that name, or another one",
        )


class ModelStore:
    """The versions in a folder, which is made where it does not exist.

    Raises:
        PillionError: the folder cannot be used; says why.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)) -> None:
        self._clock = clock
        with disk_errors(folder):
            make_directory(folder.absolute())
            self.folder = folder.resolve()
            self._models = self.folder / "models"
            self._staging = self.folder / "staging"
            for part in (self._models, self._staging):
                make_directory(part)
            with self._exclusive():
                self._clear()

    # --- versions

    def register(
        self, name: str, source: Path, metadata: Mapping[str, Any] | None = None, *, trained: Trained | None = None
    ) -> ModelVersion:
        """Copy a file or a folder into the store, as the next version of a model.

        Raises:
            PillionError: ``INVALID_ARGUMENT`` (name, metadata, or files that are none), ``STORAGE_FULL``.
        """
        check_name(name)
        kept = checked_metadata(metadata or {})
        with self.stage() as staging:
            with disk_errors(self.folder):
                staging.add(source)
            return self.commit(staging, name, kept, trained=trained)

    def stage(self) -> Staging:
        """A place to put a version together, to be handed to :meth:`commit`."""
        with disk_errors(self.folder), self._exclusive():
            root = self._staging / secrets.token_hex(8)
            make_directory(root)
            lock = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(lock, fcntl.LOCK_EX)
        return Staging(root, lock)

    def commit(
        self,
        staging: Staging,
        name: str,
        metadata: Mapping[str, Any] | None = None,
        *,
        trained: Trained | None = None,
    ) -> ModelVersion:
        """Make what was put together the next version of a model.

        Raises:
            PillionError: as :meth:`register`; ``CONFLICT`` where a model's name differs in capitals only.
        """
        check_name(name)
        kept = checked_metadata(metadata or {})
        if not staging.records:
            raise PillionError(
                ErrorCode.INVALID_ARGUMENT,
                "model_files: there are none",
                field="model_files",
                remedy="send at least one file",
            )
        with staging.busy, disk_errors(self.folder):
            staging.sync()
            with self._exclusive():
                home = self._home(name)
                number = max([self._ledger(name).last, *map(int, self._numbers(name))]) + 1
                record = VersionRecord(
                    name=name,
                    version=str(number),
                    digest=staging.digest(),
                    created=self._clock(),
                    size=staging.size,
                    single=staging.single,
                    files=staging.records,
                    metadata=kept,
                    trained=trained,
                )
                write_durably(staging.root / _RECORD, _text(record))
                target = home / record.version
                # Others take it for what a dead process left only while it is in the folder for that.
                staging.release()
                staging.root.rename(target)
                sync_directory(home)
        return record.at(target)

    def get(self, reference: str) -> ModelVersion:
        """``iris@stable``, ``iris@3``, or the newest for ``iris``.

        Raises:
            PillionError: ``UNKNOWN_MODEL``, ``INVALID_ARGUMENT`` (no such reference can be), ``INTERNAL`` (its record
                cannot be read).
        """
        name, which = split_reference(reference)
        numbers = self._numbers(name)
        if not numbers:
            known = self.names()
            raise PillionError(
                ErrorCode.UNKNOWN_MODEL,
                f"Request for unknown model: {name!r} is not in the store{nearest(name, known)}",
            )
        number = (self._ledger(name).aliases.get(which, which) if which else "") or numbers[-1]
        if number not in numbers:
            raise PillionError(
                ErrorCode.UNKNOWN_MODEL,
                f"Request for unknown model: {name!r} has no version or alias {which!r} (it has: {', '.join(numbers)})",
            )
        version = self._read(name, number)
        if version is None:
            raise PillionError(
                ErrorCode.INTERNAL,
                f"{self._models / name / number / _RECORD} cannot be read: the version is damaged",
                remedy="delete that folder, or put it back from a backup",
            )
        return version

    def names(self) -> list[str]:
        """The models that have versions."""
        return [name for name in self._folders(self._models) if self._numbers(name)]

    def versions(self, name: str | None = None) -> list[ModelVersion]:
        """Every version, of one model or of all, by name, the oldest first. One that is damaged is left out."""
        names = self.names() if name is None else [check_name(name)]
        found = (self._read(model, number) for model in names for number in self._numbers(model))
        return [version for version in found if version is not None]

    def delete(self, name: str, version: str) -> None:
        """Remove a version and its files.

        Raises:
            PillionError: ``UNKNOWN_MODEL``; ``CONFLICT`` where it is in use, deployed, or has an alias.
        """
        with disk_errors(self.folder):
            with self._exclusive():
                found = self.get(f"{name}@{version}")
                ledger = self._ledger(name)
                self._require_free(found, ledger)
                home = self._models / name
                descriptor = os.open(home / found.version, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(descriptor)
                    raise _in_use(found, "it is loaded", "unload it first") from None
                last = max(ledger.last, *map(int, self._numbers(name)))
                self._write(name, msgspec.structs.replace(ledger, last=last))
                trash = self._staging / secrets.token_hex(8)
                (home / found.version).rename(trash)
                sync_directory(home)
            # It is gone already; if this is cut short, the next start goes on with it.
            shutil.rmtree(trash, ignore_errors=True)
            os.close(descriptor)

    def hold(self, version: ModelVersion) -> Hold:
        """Keep a version from being deleted while it is in use.

        Raises:
            PillionError: ``UNKNOWN_MODEL``; it has been deleted.
        """
        folder = self._models / version.name / version.version
        gone = PillionError(
            ErrorCode.UNKNOWN_MODEL, f"version {version.version} of {version.name!r} has been deleted from the store"
        )
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            raise gone from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(descriptor), folder.stat()):
                raise FileNotFoundError
        except OSError:
            os.close(descriptor)
            raise gone from None
        return Hold(version, descriptor)

    # --- what can change of a model

    def aliases(self, name: str) -> dict[str, str]:
        """Version by alias."""
        return dict(self._ledger(check_name(name)).aliases)

    def alias(self, name: str, alias: str, version: str | None) -> None:
        """Let ``name@alias`` mean a version from now on, or nothing any more where that is None.

        Raises:
            PillionError: ``UNKNOWN_MODEL``, ``INVALID_ARGUMENT``.
        """
        check_alias(alias)
        with disk_errors(self.folder), self._exclusive():
            ledger = self._ledger(check_name(name))
            aliases = {known: number for known, number in ledger.aliases.items() if known != alias}
            if version is not None:
                aliases[alias] = self.get(f"{name}@{version}").version
            self._write(name, msgspec.structs.replace(ledger, aliases=aliases))

    def deployed(self) -> list[ModelVersion]:
        """The versions that are to be served."""
        return [self.get(f"{name}@{number}") for name in self.names() if (number := self._ledger(name).deployed)]

    def deployed_of(self, name: str) -> ModelVersion | None:
        """The version of a model that is to be served, if any is.

        Raises:
            PillionError: ``UNKNOWN_MODEL``, ``INTERNAL``; it is to be served and cannot be read.
        """
        number = self._ledger(check_name(name)).deployed
        return None if number is None else self.get(f"{name}@{number}")

    def set_deployed(self, name: str, version: str | None) -> None:
        """Remember that a version is to be served, or that none is; what failed before is forgotten.

        Raises:
            PillionError: ``UNKNOWN_MODEL``.
        """
        with disk_errors(self.folder), self._exclusive():
            ledger = self._ledger(check_name(name))
            if version is not None:
                version = self.get(f"{name}@{version}").version
            self._write(name, msgspec.structs.replace(ledger, deployed=version, failure=None))

    def failures(self) -> dict[str, FailedLoad]:
        """By model: the last attempt to deploy a version, where it failed."""
        found = {name: self._ledger(name).failure for name in self._folders(self._models)}
        return {name: failure for name, failure in found.items() if failure is not None}

    def set_failure(self, name: str, version: str, reason: str) -> None:
        """Remember why a version could not be deployed."""
        with disk_errors(self.folder), self._exclusive():
            ledger = self._ledger(check_name(name))
            self._write(name, msgspec.structs.replace(ledger, failure=FailedLoad(version, reason, self._clock())))

    # --- the folder

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Be the only one that changes names: of all threads and all processes."""
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _clear(self) -> None:
        """Remove what processes left that have died."""
        for name in self._folders(self._staging):
            try:
                descriptor = os.open(self._staging / name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # whose it was has just removed it
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # somebody is at it
            else:
                _log.info("removing what an interrupted process left in %s", self._staging / name)
                shutil.rmtree(self._staging / name, ignore_errors=True)
            finally:
                os.close(descriptor)

    def _home(self, name: str) -> Path:
        """The folder of a model, made where it is the first version."""
        home = self._models / name
        if home.is_symlink() or not home.is_dir():
            check_new(self.folder, name)
            make_directory(home)
            sync_directory(self._models)
        return home

    def _require_free(self, version: ModelVersion, ledger: Ledger) -> None:
        if ledger.deployed == version.version:
            raise _in_use(version, "it is deployed", "undeploy it first")
        alias = next((alias for alias, number in ledger.aliases.items() if number == version.version), None)
        if alias is not None:
            raise _in_use(version, f"its alias is {alias!r}", "give that to another version first")

    def _numbers(self, name: str) -> list[str]:
        numbers = (found for found in self._folders(self._models / name) if found.isdecimal() and found.isascii())
        return sorted(numbers, key=int)

    def _read(self, name: str, number: str) -> ModelVersion | None:
        folder = self._models / name / number
        try:
            record = _VERSION_RECORD.decode((folder / _RECORD).read_bytes())
        except (OSError, msgspec.DecodeError) as error:
            _log.error("%s cannot be read: %s", folder / _RECORD, error)
            return None
        return record.at(folder)

    def _ledger(self, name: str) -> Ledger:
        try:
            return _OF_LEDGER.decode((self._models / name / _LEDGER).read_bytes())
        except FileNotFoundError:
            return Ledger()
        except (OSError, msgspec.DecodeError) as error:
            raise PillionError(
                ErrorCode.INTERNAL,
                f"{self._models / name / _LEDGER} cannot be read: {error}",
                remedy="put it back from a backup, or delete it: aliases and what is deployed are in it, no versions",
            ) from None

    def _write(self, name: str, ledger: Ledger) -> None:
        write_durably(self._home(name) / _LEDGER, _text(ledger))

    def _folders(self, parent: Path) -> list[str]:
        try:
            with os.scandir(parent) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        except FileNotFoundError:
            return []


def _text(value: msgspec.Struct) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n"


def _in_use(version: ModelVersion, why: str, remedy: str) -> PillionError:
    return PillionError(
        ErrorCode.CONFLICT, f"version {version.version} of {version.name!r} is in use: {why}", remedy=remedy
    )

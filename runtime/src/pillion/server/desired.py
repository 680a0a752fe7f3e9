"""The desired models: read from runtime.yaml, watched, handed to the data plane."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pillion import runtimefile
from pillion.server.failures import ExitCode, StartError
from pillion.server.watch import changes, identity_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pillion.runtimefile import DesiredApplication, DesiredModel, RuntimeFile
    from pillion.server.metrics import ServerMetrics

__all__ = ["DesiredModels", "merged", "read_bundled", "read_runtime_file"]

_log = logging.getLogger(__name__)


def read_runtime_file(path: Path) -> RuntimeFile:
    """The file as it is now.

    Raises:
        StartError: it cannot be read or is not a runtime.yaml; names file and field.
    """
    try:
        return runtimefile.load(path.read_text(encoding="utf-8"), source=str(path))
    except FileNotFoundError:
        raise StartError(ExitCode.USAGE, f"{path}: file not found: name another with --config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(ExitCode.USAGE, f"{path}: cannot be read: {error}") from None
    except runtimefile.RuntimeFileError as error:
        raise StartError(ExitCode.USAGE, str(error)) from None


def read_bundled(path: str) -> tuple[DesiredModel, ...]:
    """The models that the image brings: code is run from there only, never by what a ConfigMap or a store says.

    Raises:
        StartError: there is a file to be and it cannot be used.
    """
    return read_runtime_file(Path(path)).models if path else ()


def merged(bundled: Sequence[DesiredModel], declared: Sequence[DesiredModel]) -> tuple[DesiredModel, ...]:
    """The image's models and the declared ones.

    Raises:
        StartError: two have one name and version.
    """
    known = {(model.name, model.version) for model in bundled}
    twice = next((model.name for model in declared if (model.name, model.version) in known), None)
    if twice is not None:
        raise StartError(ExitCode.USAGE, f"the model {twice!r} is declared, and the image brings one of that name")
    return (*bundled, *declared)


class DesiredModels:
    """What runtime.yaml asks for, followed as it changes.

    Args:
        path: the file; its folder may be a mounted ConfigMap.
        first: what it held when the process started.
        metrics: told of each attempt to apply a change.
        bundled: models of the image, which are there whatever the file says.
        interval: seconds between looks at the file.
    """

    def __init__(
        self,
        path: Path,
        first: RuntimeFile,
        metrics: ServerMetrics,
        *,
        bundled: Sequence[DesiredModel] = (),
        interval: float = 0.5,
    ) -> None:
        self._path = path
        self._identity = identity_of((str(path),))
        self._file = first
        self._metrics = metrics
        self._interval = interval
        self._bundled = bundled
        self.error = ""
        """Why the last change was not applied; empty when it was."""

    async def watch(
        self,
        apply: Callable[[Sequence[DesiredModel]], Awaitable[None]],
        reconfigure: Callable[[Sequence[DesiredApplication]], Awaitable[str]] | None = None,
    ) -> None:
        """Follow the file for ever. A file that cannot be used leaves the models as they are, and says so.

        Args:
            apply: is given the models.
            reconfigure: is given the applications, of which only the config can change; says why one kept its own.
        """
        async for _ in changes((str(self._path),), since=self._identity, interval=self._interval):
            try:
                new = read_runtime_file(self._path)
                models = merged(self._bundled, new.models)
            except StartError as failure:
                self.error = str(failure)
                self._metrics.config_reload("failed")
                _log.error("kept the models as they are: %s", failure)
                continue
            if new.settings != self._file.settings:
                _log.warning("%s: settings changed; they take effect when the process restarts", self._path)
            if _built(new.applications) != _built(self._file.applications):
                _log.warning("%s: applications changed; they are built when the process restarts", self._path)
            self.error = "" if reconfigure is None else await reconfigure(new.applications)
            unchanged = new.models == self._file.models
            self._file = new
            if not unchanged:
                await apply(models)
            self._metrics.config_reload("failed" if self.error else "succeeded")


def _built(applications: Sequence[DesiredApplication]) -> list[DesiredApplication]:
    """Without what can change while they run."""
    return [msgspec.structs.replace(one, config={}) for one in applications]

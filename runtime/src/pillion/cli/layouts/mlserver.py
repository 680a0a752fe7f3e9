"""MLServer's folders: a ``model-settings.json`` for each model, in the folder or anywhere below it.

Source: MLServer's reference, "Model Settings" (``mlserver.settings.ModelSettings``). A model without a name has that of
its folder; ``parameters.uri`` is relative to the settings' file.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from pillion.cli.layouts.laidout import LaidOut, Layout, LayoutError
from pillion.runtimefile import ExecutionSettings
from pillion.storage.uri import is_uri

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["read_mlserver"]

_SETTINGS: Final = "model-settings.json"
_SERVER_SETTINGS: Final = "settings.json"
_FORMATS: Final[Mapping[str, str]] = {
    "mlserver_sklearn": "sklearn",
    "mlserver_xgboost": "xgboost",
    "mlserver_lightgbm": "lightgbm",
    "mlserver_mlflow": "mlflow",
    "mlserver_huggingface": "huggingface",
    "mlserver_onnx": "onnx",
}
"""The format that each of MLServer's runtimes serves, by the package of `implementation`."""
_USED: Final = frozenset(
    {"name", "implementation", "parameters", "platform", "$schema", "max_batch_size", "max_batch_time"}
)
_USED_PARAMETERS: Final = frozenset({"uri", "version"})


def read_mlserver(folder: Path) -> Layout | None:
    """The models of a folder with MLServer's settings; None where there are none.

    Raises:
        LayoutError: the settings cannot be read, or ask for a runtime of another kind.
    """
    files = sorted(folder.rglob(_SETTINGS))
    if not files:
        return None
    models: list[LaidOut] = []
    unused: list[str] = []
    for file in files:
        settings = _read(file)
        shown = str(file.relative_to(folder))
        models.append(_model(settings, file, shown))
        if names := _unused(settings):
            unused.append(f"{shown}: {', '.join(names)}")
    server = folder / _SERVER_SETTINGS
    if server.is_file() and (names := sorted(_read(server))):
        unused.append(f"{_SERVER_SETTINGS}: {', '.join(names)}")
    return Layout(tuple(models), tuple(unused))


def _read(file: Path) -> dict[str, object]:
    try:
        given = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LayoutError(f"{file} cannot be read: {error}") from None
    if not isinstance(given, dict):
        raise LayoutError(f"{file} is not a JSON object")
    return given


def _model(settings: Mapping[str, object], file: Path, shown: str) -> LaidOut:
    implementation = settings.get("implementation")
    package = str(implementation or "").partition(".")[0]
    if package not in _FORMATS:
        known = ", ".join(sorted(_FORMATS))
        raise LayoutError(
            f"{shown}: implementation {str(implementation)!r} is code for MLServer, which is not run here. "
            f"Known are the runtimes of {known}"
        )
    given = settings.get("parameters")
    parameters = given if isinstance(given, dict) else {}
    uri = str(parameters.get("uri") or ".")
    if is_uri(uri) and not uri.startswith("file://"):
        raise LayoutError(f"{shown}: parameters.uri {uri} is remote: name it to `pillion serve` itself, as NAME={uri}")
    path = file.parent / uri.removeprefix("file://")
    if not path.exists():
        raise LayoutError(f"{shown}: parameters.uri: no such file: {path}")
    name = str(settings.get("name") or file.resolve().parent.name)
    return LaidOut(name, str(parameters.get("version") or "1"), _FORMATS[package], path, _execution(settings, shown))


def _execution(settings: Mapping[str, object], shown: str) -> ExecutionSettings:
    """The batches that the settings ask for: MLServer makes some where both are above zero."""
    rows, seconds = settings.get("max_batch_size") or 0, settings.get("max_batch_time") or 0
    for field, value in (("max_batch_size", rows), ("max_batch_time", seconds)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise LayoutError(f"{shown}: {field} is {value!r}, not a number")
    if not rows or not seconds or not isinstance(rows, int) or not isinstance(seconds, (int, float)):
        return ExecutionSettings()
    return ExecutionSettings(batching="on", max_batch_size=rows, max_batch_delay_seconds=float(seconds))


def _unused(settings: Mapping[str, object]) -> list[str]:
    """Settings that are set and have no meaning here."""
    parameters = settings.get("parameters")
    names = [name for name, value in settings.items() if name not in _USED and value not in (None, [], {}, "")]
    if isinstance(parameters, dict):
        names += [
            f"parameters.{name}"
            for name, value in parameters.items()
            if name not in _USED_PARAMETERS and value not in (None, [], {}, "")
        ]
    return sorted(names)

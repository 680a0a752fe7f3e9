"""Triton's model repository: ``NAME/VERSION/model.onnx`` or ``model.pt``, with or without ``NAME/config.pbtxt``.

Source: Triton's user guide, "Model Repository" and "Model Configuration": by default the highest version is served, and
``version_policy`` says otherwise. Inputs and outputs are what the ONNX file itself declares, so what the configuration
says of them again is not looked at. ``max_batch_size`` and ``dynamic_batching`` bound the calls that requests share; a
size of 0, which is that of a configuration that names none, says nothing: Triton means that there is no first dimension
for rows then, and the model file tells that, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pillion.cli.layouts.laidout import LaidOut, Layout, LayoutError
from pillion.cli.layouts.textproto import Message, TextprotoError, parse_textproto
from pillion.runtimefile import ExecutionSettings

__all__ = ["read_triton"]

_CONFIG: Final = "config.pbtxt"
_BACKENDS: Final = {
    "onnxruntime_onnx": "onnx",
    "onnxruntime": "onnx",
    "pytorch_libtorch": "torch",
    "pytorch": "torch",
}
"""Platforms and backends of Triton's that are served here, and by which format. LibTorch's models are TorchScript."""
_FILES: Final = {"onnx": "model.onnx", "torch": "model.pt"}
_USED: Final = frozenset(
    {
        "name",
        "platform",
        "backend",
        "version_policy",
        "default_model_filename",
        "input",
        "output",
        "max_batch_size",
        "dynamic_batching",
    }
)


def read_triton(folder: Path) -> Layout | None:
    """The models of a model repository, or of one model's folder with a configuration; None where it is neither.

    Raises:
        LayoutError: a model is for another backend, has no version, or its configuration cannot be read.
    """
    if (folder / _CONFIG).is_file():
        folders = [folder]
    else:
        folders = [each for each in sorted(folder.iterdir()) if each.is_dir() and _is_model(each)]
    if not folders:
        return None
    models: list[LaidOut] = []
    unused: list[str] = []
    for each in folders:
        config = _config(each)
        models += _versions(each, config)
        if names := sorted(set(config) - _USED):
            unused.append(f"{each.name}/{_CONFIG}: {', '.join(names)}")
    return Layout(tuple(models), tuple(unused))


def _is_model(folder: Path) -> bool:
    return (folder / _CONFIG).is_file() or any(
        next(each.glob("model.*"), None) is not None for each in folder.iterdir() if _is_version(each)
    )


def _is_version(folder: Path) -> bool:
    """Triton passes over folders that are not numbers, or begin with zero."""
    return folder.is_dir() and folder.name.isdecimal() and not folder.name.startswith("0")


def _config(folder: Path) -> Message:
    file = folder / _CONFIG
    if not file.is_file():
        return {}
    shown = f"{folder.name}/{_CONFIG}"
    try:
        config = parse_textproto(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, TextprotoError) as error:
        raise LayoutError(f"{shown} cannot be read: {error}") from None
    if "ensemble_scheduling" in config or _text(config, "platform") == "ensemble":
        raise LayoutError(f"{shown}: an ensemble of models is not served here: serve its models by themselves")
    for field in ("platform", "backend"):
        given = _text(config, field)
        if given and given not in _BACKENDS:
            raise LayoutError(
                f"{shown}: {field} {given!r} is not served here: ONNX is (onnxruntime), TorchScript too (pytorch)"
            )
    return config


def _versions(folder: Path, config: Message) -> list[LaidOut]:
    name = _text(config, "name") or folder.resolve().name
    declared = next((_BACKENDS[given] for field in ("platform", "backend") if (given := _text(config, field))), None)
    there = sorted((each for each in folder.iterdir() if _is_version(each)), key=lambda each: int(each.name))
    chosen = _chosen(config, [each.name for each in there], folder.name)
    found = [each for each in there if each.name in chosen]
    execution = _execution(config, f"{folder.name}/{_CONFIG}")
    named = _text(config, "default_model_filename")
    return [LaidOut(name, each.name, *_model(each, declared, named), execution) for each in found]


def _model(version: Path, declared: str | None, named: str) -> tuple[str, Path]:
    """The format and file of a version: as its configuration says, else by the name that Triton gives such files."""
    if declared is not None:
        file = version / (named or _FILES[declared])
        if file.exists():
            return declared, file
    elif named:
        file = version / named
        if file.exists():
            return next((kind for kind, usual in _FILES.items() if file.suffix == Path(usual).suffix), "onnx"), file
    else:
        there = [(kind, version / usual) for kind, usual in _FILES.items() if (version / usual).exists()]
        if there:
            return there[0]
    wanted = named or (_FILES[declared] if declared else " or ".join(_FILES.values()))
    others = ", ".join(sorted(entry.name for entry in version.iterdir())) or "nothing"
    raise LayoutError(
        f"{version.parent.name}/{version.name} has no {wanted}, but {others}: ONNX and TorchScript are served here"
    )


def _execution(config: Message, shown: str) -> ExecutionSettings:
    """The batches that the configuration asks for."""
    rows = _number(config, "max_batch_size", shown)
    if "dynamic_batching" not in config:
        return ExecutionSettings(max_batch_size=rows or None)
    delay = _number(_message(config, "dynamic_batching"), "max_queue_delay_microseconds", shown)
    return ExecutionSettings(batching="on", max_batch_size=rows or None, max_batch_delay_seconds=delay / 1e6)


def _number(message: Message, field: str, shown: str) -> int:
    given = _text(message, field) or "0"
    if not given.isdecimal():
        raise LayoutError(f"{shown}: {field} is {given!r}, not a whole number")
    return int(given)


def _chosen(config: Message, there: list[str], shown: str) -> set[str]:
    """The versions that the policy names, of those that are there in ascending order."""
    if not there:
        raise LayoutError(f"{shown} has no version: put the model into {shown}/1/")
    policy = _message(config, "version_policy")
    if "all" in policy:
        return set(there)
    if "specific" in policy:
        wanted = [value for value in _message(policy, "specific").get("versions", []) if isinstance(value, str)]
        missing = sorted(set(wanted) - set(there))
        if missing or not wanted:
            raise LayoutError(f"{shown}/{_CONFIG}: version_policy names versions that are not there: {missing}")
        return set(wanted)
    count = _text(_message(policy, "latest"), "num_versions") or "1"
    if not count.isdecimal() or int(count) < 1:
        raise LayoutError(
            f"{shown}/{_CONFIG}: version_policy.latest.num_versions is {count!r}, not a number above zero"
        )
    return set(there[-int(count) :])


def _text(message: Message, field: str) -> str:
    values = message.get(field, [])
    return values[-1] if values and isinstance(values[-1], str) else ""


def _message(message: Message, field: str) -> Message:
    values = message.get(field, [])
    return values[-1] if values and isinstance(values[-1], dict) else {}

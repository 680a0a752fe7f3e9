"""Folders that ``save_pretrained`` wrote: a ``config.json``, weights and a tokenizer. Nothing is loaded here.

With ``modules.json`` it is a sentence embedder (sentence-transformers), else a model of transformers. Weights are
safetensors where there are any; a folder that has only ``pytorch_model.bin`` holds a pickle.

Source: transformers, ``PreTrainedModel.save_pretrained``; sentence-transformers, ``SentenceTransformer.save``.
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion.backends.api import ModelLoadError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["HubFolder", "Module", "hub_folder", "missing_config", "modules_of", "read_json"]

_CONFIG: Final = "config.json"
_MODULES: Final = "modules.json"
_SAFE: Final = ("model.safetensors", "model.safetensors.index.json")
_PICKLED: Final = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_TOKENIZERS: Final = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "spiece.model", "tokenizer.model")
_MOST_BYTES: Final = 8 * 1024 * 1024
_WITHOUT_WEIGHTS: Final = frozenset({"Pooling", "Normalize"})


class Module(msgspec.Struct, frozen=True):
    """One step of a sentence embedder."""

    kind: str
    """The class's name without its package: ``Transformer``, ``Pooling``, ``Dense``, ``Normalize``."""
    folder: Path


class HubFolder(msgspec.Struct, frozen=True):
    """What was found, from the names of files."""

    path: Path
    embedder: bool
    pickled: Path | None
    """The first weights that are only there as a pickle."""


def hub_folder(path: Path) -> HubFolder | None:
    """What is in the folder; None where it is none of these.

    Raises:
        ModelLoadError: it is one, and its weights or its description are missing.
    """
    if not path.is_dir():
        return None
    if (path / _MODULES).is_file():
        modules = modules_of(path)
        weights = [_weights(one.folder) for one in modules if one.kind not in _WITHOUT_WEIGHTS]
        return HubFolder(path, embedder=True, pickled=next((file for file in weights if file is not None), None))
    if not (path / _CONFIG).is_file():
        return None
    config = read_json(path / _CONFIG)
    if not isinstance(config, dict) or not ({"model_type", "architectures"} & config.keys()):
        return None
    return HubFolder(path, embedder=False, pickled=_weights(path))


def missing_config(path: Path) -> ModelLoadError | None:
    """Why a folder that looks like one of these is none: its ``config.json`` is not there."""
    if not path.is_dir() or (path / _CONFIG).is_file():
        return None
    names = {entry.name for entry in path.iterdir()}
    if not names & {*_SAFE, *_PICKLED} or not names & set(_TOKENIZERS):
        return None
    return ModelLoadError(
        f"{path} has weights and a tokenizer, and no {_CONFIG}, which says what model they belong to",
        "save the whole folder: model.save_pretrained(FOLDER) and tokenizer.save_pretrained(FOLDER)",
    )


def modules_of(path: Path) -> tuple[Module, ...]:
    """The steps of a sentence embedder, in order.

    Raises:
        ModelLoadError: modules.json does not describe any.
    """
    entries = read_json(path / _MODULES)
    remedy = "save the embedder again with model.save_pretrained(FOLDER)"
    if not isinstance(entries, list) or not entries:
        raise ModelLoadError(f"{_MODULES} lists no modules", remedy)
    found = []
    for position, entry in enumerate(entries):
        kind, place = (entry.get("type"), entry.get("path", "")) if isinstance(entry, dict) else (None, "")
        if not isinstance(kind, str) or not isinstance(place, str):
            raise ModelLoadError(f"{_MODULES}: entry {position} has no type and path", remedy)
        relative = PurePosixPath(place)
        if relative.is_absolute() or ".." in relative.parts:
            raise ModelLoadError(f"{_MODULES}: entry {position} leads out of the folder: {place}", remedy)
        # A class of another package would be code that came with the model.
        package, _, name = kind.rpartition(".")
        ours = package.partition(".")[0] == "sentence_transformers"
        found.append(Module(name if ours else kind, path / relative))
    return tuple(found)


def read_json(file: Path) -> Any:  # noqa: ANN401 - any JSON document
    """The document in a small file of a model's description.

    Raises:
        ModelLoadError: it cannot be read as JSON.
    """
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise ModelLoadError(f"{file.name} is larger than {_MOST_BYTES >> 20} MiB", "save the model again")
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelLoadError(f"{file} cannot be read: {error}", "upload the whole folder again") from error


def _weights(folder: Path) -> Path | None:
    """The pickle, where there is nothing better."""
    if (folder / _SAFE[0]).is_file():
        return None
    if (folder / _SAFE[1]).is_file():
        _check_shards(folder / _SAFE[1])
        return None
    for name in _PICKLED:
        if (folder / name).is_file():
            return folder / name
    raise ModelLoadError(
        f"{folder} has a {_CONFIG} and no weights: neither {_SAFE[0]} nor {_PICKLED[0]} is there",
        "save the whole folder with model.save_pretrained(FOLDER); weights of TensorFlow and Flax are not served",
    )


def _check_shards(index: Path) -> None:
    """The files that an index names are safetensors of its folder: the library would open a pickle as well."""
    document = read_json(index)
    shards = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(shards, dict) or not shards:
        raise ModelLoadError(f"{index.name} names no files of weights", "save the model again")
    for shard in sorted({str(name) for name in shards.values()}):
        if PurePosixPath(shard).name != shard or not shard.endswith(".safetensors"):
            raise ModelLoadError(
                f"{index.name} names {shard}, which is no safetensors file of the folder", "save the model again"
            )
        if not (index.parent / shard).is_file():
            raise ModelLoadError(f"{index.name} names {shard}, which is not there", "upload the whole folder again")

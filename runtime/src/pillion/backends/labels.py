"""Names of classes: which column of an output is which, for clients that ask for an output's best classes.

They come from the artifact where it knows them (the classes of an estimator, the configuration of transformers,
properties of an ONNX file), else from ``labels.txt`` beside it: a line for each class, as in Triton's repositories.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pillion.backends.api import ModelLoadError
from pillion.tensors import Datatype

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pillion.backends.detect import Artifact
    from pillion.model import ModelMetadata
    from pillion.tensors import TensorSpec

__all__ = ["FILE", "declared", "fitting", "telling", "with_labels"]

FILE: Final = "labels.txt"
_MOST_BYTES: Final = 16 * 1024 * 1024


def fitting(outputs: Iterable[TensorSpec], labels: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The labels of each output that may have a column for each of them: rows of numbers, of that width or of any."""
    return {
        spec.name: labels
        for spec in outputs
        if labels
        and len(spec.shape) > 1
        and spec.shape[-1] in {-1, len(labels)}
        and spec.datatype not in {Datatype.BYTES, Datatype.BOOL}
    }


def declared(path: Path, artifact: Artifact) -> tuple[str, ...]:
    """What ``labels.txt`` says; it lies beside the model's file, or at the top of the model's folder.

    Raises:
        ModelLoadError: it cannot be read as lines of text.
    """
    if not path.is_dir():
        return ()
    beside = artifact.path if artifact.path.is_dir() else artifact.path.parent
    for folder in dict.fromkeys((beside, path)):
        file = folder / FILE
        if file.is_file():
            return _lines(file)
    return ()


def with_labels(metadata: ModelMetadata, labels: tuple[str, ...]) -> ModelMetadata:
    """What is known of a model, with the labels of its folder, which win over those of the artifact.

    Raises:
        ModelLoadError: they fit no output.
    """
    if not labels:
        return metadata
    found = fitting(metadata.outputs, labels)
    if not found:
        outputs = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in metadata.outputs)
        raise ModelLoadError(
            f"{FILE} has {len(labels)} labels, and no output of the model has a column for each ({outputs})",
            "write one line for each class, in the order of the output's columns, or take the file away",
        )
    return msgspec.structs.replace(metadata, labels={**metadata.labels, **found})


def telling(classes: Iterable[object]) -> tuple[str, ...]:
    """Labels as text; none where they say no more than the number of their column does."""
    labels = tuple(map(str, classes))
    return () if labels == tuple(map(str, range(len(labels)))) else labels


def _lines(file: Path) -> tuple[str, ...]:
    if file.stat().st_size > _MOST_BYTES:
        raise ModelLoadError(f"{FILE} is larger than {_MOST_BYTES >> 20} MiB", "write one line for each class")
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ModelLoadError(f"{FILE} is not UTF-8: {error}", "save it as UTF-8, one line for each class") from error
    while lines and not lines[-1]:
        lines.pop()
    return tuple(lines)

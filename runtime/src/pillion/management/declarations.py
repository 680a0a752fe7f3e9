"""What follows from the declaration of one model: where its files are put, and what the data plane is told."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from pillion.runtimefile import DesiredModel

if TYPE_CHECKING:
    from pillion.modelsfile import DeclaredModel
    from pillion.storage.artifact import Artifact

__all__ = ["desired", "only_config", "place_of"]


def place_of(declared: DeclaredModel) -> str:
    """The name of the folder for a declaration's files; the same for one that changed in other ways only."""
    source = f"{declared.name}\n{declared.uri}\n{declared.digest}"
    if declared.store:
        source += f"\n{declared.store}\n{sorted(declared.store_parameters.items())}"
    return hashlib.sha256(source.encode()).hexdigest()[:24]


def desired(wanted: DeclaredModel, artifact: Artifact) -> DesiredModel:
    """What the data plane is told of a declaration whose files are in place."""
    return DesiredModel(
        name=wanted.name,
        version=wanted.version,
        path=str(artifact.model_path),
        format=wanted.format,
        format_version=wanted.format_version,
        uri=artifact.uri,
        digest=artifact.digest,
        allow_pickle=wanted.allow_pickle,
        pickle_policy=wanted.pickle_policy,
        trust_code=wanted.trust_code,
        code_policy=wanted.code_policy,
        trusted_types=wanted.trusted_types,
        execution=wanted.execution,
        config=wanted.config,
    )


def only_config(former: DeclaredModel, wanted: DeclaredModel) -> bool:
    """Whether nothing but the config is another one."""
    same = msgspec.structs.replace(former, id=wanted.id, config=wanted.config) == wanted
    return same and former.config != wanted.config

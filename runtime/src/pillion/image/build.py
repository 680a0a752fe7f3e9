"""The build: which layers there are, which of them are here already, and the image they make."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pillion.image import documents, wheels
from pillion.image.layer import text_entry, write_layer
from pillion.image.made import Blob, Made
from pillion.image.project import CODE
from pillion.oci.content import CONFIG, INDEX, MANIFEST, Descriptor, canonical, digest_of
from pillion.runtimefile import Code, DesiredModel, RuntimeFile, dump

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pillion.image.base import Base, BaseImage
    from pillion.image.documents import Layer
    from pillion.image.lock import Lock
    from pillion.image.project import Files, Service
    from pillion.image.store import BlobStore
    from pillion.oci.content import Platform

__all__ = ["BUNDLED", "EPOCH", "Plan", "Step", "make", "steps"]

EPOCH: Final = 315532800
"""1980, before which zip files know no time: the date of all that has no date of its own."""
BUNDLED: Final = "/etc/pillion/models.yaml"
"""In the image: the model that it brings. Beside it the operator mounts its runtime.yaml, which has the settings."""
_CONFIG_FILE: Final = "/etc/pillion/runtime.yaml"
_FORMAT: Final = 1
"""Of the dependencies' layer: another number where the same lock is to give other bytes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be built.

    Attributes:
        service: the class.
        name: what it is served as.
        lock: its dependencies.
        files: of the project.
        platforms: what it is for.
        python: of the base; empty: as the base says.
        artifact: what the class loads, relative to the project; empty for none.
        epoch: seconds since 1970 that everything is dated.
    """

    service: Service
    name: str
    lock: Lock
    files: Files
    platforms: tuple[Platform, ...]
    python: str = ""
    artifact: str = ""
    epoch: int = EPOCH


@dataclass(frozen=True, slots=True)
class Step:
    """The layer of dependencies for one platform."""

    platform: Platform
    base: BaseImage
    python: str
    key: str
    cached: Layer | None


def steps(plan: Plan, base: Base, store: BlobStore) -> tuple[Step, ...]:
    """What each platform asks for; reads the base's documents and nothing larger.

    Raises:
        ImageError: the base has no image for a platform, or is none of our runtime.
    """
    found: list[Step] = []
    for platform in plan.platforms:
        image = base.image(platform)
        documents.require_runtime(image.config, base.name)
        python = plan.python or documents.python_of(image.config)
        key = layer_key(plan, platform, python)
        found.append(Step(platform, image, python, key, store.layer(key)))
    return tuple(found)


def layer_key(plan: Plan, platform: Platform, python: str) -> str:
    """The name of the inputs that a layer of dependencies is made of."""
    inputs = [_FORMAT, plan.lock.text, str(platform), python, plan.epoch, documents.DEPENDENCIES]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


def make(plan: Plan, base: Base, store: BlobStore, tell: Callable[[str], None]) -> Made:
    """Build what is not here yet.

    Raises:
        ImageError: a dependency cannot be had, or a layer cannot be written.
    """
    code = _code_layer(plan, store)
    manifests: dict[Platform, tuple[Descriptor, bytes]] = {}
    configs: list[tuple[Descriptor, bytes]] = []
    layers: dict[str, Blob] = {}
    for step in steps(plan, base, store):
        added = [*([_dependencies(plan, step, store, tell)] if plan.lock.names else []), code]
        config = canonical(
            documents.child_config(
                step.base.config, added, environment=_environment(plan), labels=_labels(plan), epoch=plan.epoch
            )
        )
        described = Descriptor(CONFIG, digest_of(config), len(config))
        configs.append((described, config))
        name = str(base.origin) if base.origin else ""
        document = documents.manifest(
            step.base.manifest, described, added, base_digest=step.base.digest, base_name=name
        )
        data = canonical(document)
        manifests[step.platform] = Descriptor(MANIFEST, digest_of(data), len(data)), data
        below = [Descriptor.read(one, base.name) for one in step.base.manifest.get("layers") or []]
        for one in below:
            layers[one.digest] = Blob(one, functools.partial(base.reader.blob, one), base.origin)
        for layer in added:
            layers[layer.descriptor.digest] = Blob(layer.descriptor, functools.partial(_kept, store, layer.descriptor))
    documents_ = [manifests[platform] for platform in sorted(manifests)]
    if len(documents_) > 1:
        data = canonical(documents.index({platform: one[0] for platform, one in manifests.items()}))
        documents_.append((Descriptor(INDEX, digest_of(data), len(data)), data))
    tell(f"code: {_count(plan.files.entries)} in {plan.files.size / 1e6:,.1f} MB, layer {_megabytes(code)}")
    return Made(documents_[-1][0], documents_, configs, tuple(layers.values()))


def _kept(store: BlobStore, descriptor: Descriptor) -> Path:
    path = store.find(descriptor)
    if path is None:
        raise FileNotFoundError(descriptor.digest)
    return path


def _dependencies(plan: Plan, step: Step, store: BlobStore, tell: Callable[[str], None]) -> Layer:
    count = len(plan.lock.names)
    what = f"dependencies for {step.platform}: {count} {'package' if count == 1 else 'packages'}"
    if step.cached is not None:
        tell(f"{what}, {_megabytes(step.cached)}, cached")
        return step.cached
    tell(f"{what}: fetching wheels for Python {step.python}")
    with store.scratch() as scratch:
        beside = (plan.service.folder / "wheels").absolute()
        fetched = wheels.fetch(plan.lock.text, scratch, platform=step.platform, python=step.python, beside=beside)
        layer = write_layer(wheels.unpacked(fetched), scratch / "layer", what="dependencies", epoch=plan.epoch)
        store.adopt(layer.descriptor, scratch / "layer")
    store.remember(step.key, layer)
    tell(f"{what}, {_megabytes(layer)}")
    return layer


def _code_layer(plan: Plan, store: BlobStore) -> Layer:
    model = DesiredModel(
        name=plan.name,
        path=f"{CODE}/{plan.artifact}" if plan.artifact else "",
        code=Code(module=f"{CODE}/{plan.service.file}", class_name=plan.service.class_name, folder=CODE),
    )
    # Without an operator nobody asks for a drain, and its socket's folder is not there.
    alone = RuntimeFile(settings={"control": {"socket": ""}, "drain": {"window_seconds": 0}})
    own = [text_entry(BUNDLED, dump(RuntimeFile(models=(model,)))), text_entry(_CONFIG_FILE, dump(alone))]
    with store.scratch() as scratch:
        layer = write_layer([*plan.files.entries, *own], scratch / "layer", what="code", epoch=plan.epoch)
        store.adopt(layer.descriptor, scratch / "layer")
    return layer


def _environment(plan: Plan) -> dict[str, str]:
    path = {"PYTHONPATH": documents.DEPENDENCIES} if plan.lock.names else {}
    return {**path, "PILLION_MODELS__BUNDLED": BUNDLED}


def _labels(plan: Plan) -> dict[str, str]:
    return {"org.opencontainers.image.title": plan.name, "dev.pillion.model": plan.name}


def _megabytes(layer: Layer) -> str:
    return f"{layer.descriptor.size / 1e6:,.1f} MB"


def _count(entries: Sequence[object]) -> str:
    return f"{len(entries)} {'file' if len(entries) == 1 else 'files'}"

"""Finding, and where need be fetching, what ``pillion serve`` was asked to serve."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args, get_type_hints

import msgspec

from pillion.cli.applications import from_services, http_settings, named_applications
from pillion.cli.failures import CommandError, text_of
from pillion.cli.layout_sources import sources_of
from pillion.cli.local import Consent, Source, cluster_only, manifest_sources, render_runtime_file, resolve
from pillion.runtimefile import ExecutionSettings, check_applications

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pillion.runtimefile import RuntimeFile

__all__ = ["cache_folder", "from_manifest", "from_targets", "mappings", "run_by"]


def cache_folder() -> Path:
    """Where fetched models are kept: ``$XDG_CACHE_HOME/pillion``, by default ``~/.cache/pillion``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pillion"


def mappings(texts: Sequence[str]) -> dict[str, Path]:
    """``--map URI=PATH`` options.

    Raises:
        CommandError: not of that form.
    """
    mapped = {}
    for text in texts:
        uri, equals, path = text.partition("=")
        if not equals or "://" not in uri or not path:
            raise CommandError(f"--map {text}: write it as --map configmap://NAME=PATH", code=2)
        mapped[uri] = Path(path).expanduser().absolute()
    return mapped


def from_manifest(file: Path, consent: Consent, *, mapped: Mapping[str, Path]) -> tuple[RuntimeFile, list[str]]:
    """What the InferenceServices of a manifest ask for, and what of them is not used on this machine.

    Raises:
        CommandError: the manifest is wrong, or a model's files cannot be found or fetched.
    """
    from pillion.resources import InferenceService, ManifestError, load_manifests  # noqa: PLC0415 - costs start-up

    text = text_of(file)
    try:
        manifests = load_manifests(text, source=str(file))
    except ManifestError as error:
        raise CommandError(str(error), code=2) from None
    services = [m.resource for m in manifests if isinstance(m.resource, InferenceService)]
    if not services:
        raise CommandError(f"{file}: holds no InferenceService", code=2)
    sources = [source for service in services for source in manifest_sources(service, consent)]
    notes = [field for service in services for field in cluster_only(service)]
    beside = Path.cwd() if str(file) == "-" else file.resolve().parent
    applications = from_services(services, beside)
    try:
        check_applications(applications)
    except ValueError as error:
        raise CommandError(f"{file}: spec.predictor.applications: {error}", code=2) from None
    rendered = _render(sources, beside, mapped)
    return msgspec.structs.replace(rendered, applications=applications, settings=http_settings(services)), notes


def from_targets(
    targets: Sequence[str],
    consent: Consent,
    *,
    mapped: Mapping[str, Path],
    artifact: str | None = None,
    device: str | None = None,
    route_prefix: str | None = None,
) -> RuntimeFile:
    """What the command line names: files, folders, NAME=URI, classes, applications.

    Args:
        targets: as they were written.
        consent: what is accepted of all of them.
        mapped: by ``--map``.
        artifact: path or URI of what the one class among them loads.
        device: where they are to compute.
        route_prefix: the path below which the one application among them answers.

    Raises:
        CommandError: a target cannot be found or fetched, or two have one name.
    """
    applications, targets = named_applications(targets, route_prefix)
    sources = [source for t in targets for source in sources_of(t, consent)]
    classes = [source for source in sources if source.code is not None]
    if artifact is not None and len(classes) != 1:
        raise CommandError("--artifact is what a class loads: name one class, service.py:Class", code=2)
    for source in classes:
        file = Path(source.code.module) if source.code is not None else Path()
        if file.suffix == ".py" and not file.is_file():
            raise CommandError(f"{file}: no such file", code=2)
    parameters = {} if device is None else {"device": device}
    sources = [replace(s, parameters=parameters) for s in sources]
    sources = [s if s.code is None else replace(s, uri=artifact or "") for s in sources]
    return msgspec.structs.replace(_render(sources, Path.cwd(), mapped), applications=applications)


def run_by(file: RuntimeFile, executor: str | None, processes: int | None) -> RuntimeFile:
    """The file with another executor for every model.

    Raises:
        CommandError: there is none of that name, or it has no processes.
    """
    if processes is not None and executor != "process":
        raise CommandError("--processes is for worker processes: --executor process", code=2)
    if executor is None:
        return file
    try:
        chosen = msgspec.convert({"executor": executor, "processes": processes}, ExecutionSettings)
    except msgspec.ValidationError:
        known = ", ".join(get_args(get_type_hints(ExecutionSettings)["executor"]))
        raise CommandError(f"--executor {executor}: choose one of {known}", code=2) from None
    changed = {"executor": chosen.executor, "processes": chosen.processes}
    models = tuple(
        msgspec.structs.replace(model, execution=msgspec.structs.replace(model.execution, **changed))
        for model in file.models
    )
    return msgspec.structs.replace(file, models=models)


def _render(sources: Sequence[Source], beside: Path, mapped: Mapping[str, Path]) -> RuntimeFile:
    names = [(source.name, source.version) for source in sources]
    for name, version in names:
        if names.count((name, version)) > 1:
            raise CommandError(f"two models are called {name} (version {version}): write NAME=URI", code=2)
    paths = {s.uri: resolve(s.uri, beside=beside, mapped=mapped) or _fetched(s) for s in sources if s.uri}
    return render_runtime_file(sources, paths)


def _fetched(source: Source) -> Path:
    from rich.console import Console  # noqa: PLC0415 - costs start-up
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn  # noqa: PLC0415 - as above

    from pillion.storage import FetchOptions, StorageError, fetch_sync  # noqa: PLC0415 - costs start-up
    from pillion.storage import Progress as Fetched  # noqa: PLC0415 - as above

    key = hashlib.sha256(source.uri.encode()).hexdigest()[:24]
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"fetching {source.name}", total=None)

        def tell(progress: Fetched) -> None:
            bar.update(task, completed=progress.done, total=progress.total)

        try:
            options = FetchOptions.from_environment(os.environ, digest=source.digest or None, reuse="revalidate")
            return fetch_sync(source.uri, cache_folder() / "models" / key, options, tell).model_path
        except StorageError as error:
            raise CommandError(str(error)) from None

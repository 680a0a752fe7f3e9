"""``pillion batch``: a BatchPrediction on this machine, with files of this machine or of buckets."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pillion.cli.failures import EXIT_CODES, CommandError, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.batchpod.order import BatchOrder, Model, Service
    from pillion.resources import BatchPrediction

__all__ = ["register"]

_EPILOG = f"""\b
Examples:
  pillion batch -f batchprediction.yaml
  pillion batch -f batchprediction.yaml --map pvc://work=.
  pillion batch -f batchprediction.yaml --url http://127.0.0.1:8080

A claim or ConfigMap is the folder of its name beside the manifest; --map says otherwise. Run again, it goes on with
the shards that are left.

{EXIT_CODES}"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("batch", epilog=_EPILOG)(batch)


def batch(
    file: Annotated[Path, typer.Option("-f", "--file", help="The manifest of a BatchPrediction.")],
    maps: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="URI=PATH", help="Where storage of a cluster is here: pvc://work=./data"),
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", help="Where the inferenceService answers here: http://127.0.0.1:8080")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Predict the rows of files, as a BatchPrediction does in a cluster."""
    import logging  # noqa: PLC0415 - keeps --help quick
    import tempfile  # noqa: PLC0415 - keeps --help quick

    from pillion.cli.targets import mappings  # noqa: PLC0415 - keeps --help quick

    found, mapped = _manifest(file), mappings(maps or [])
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    with tempfile.TemporaryDirectory(prefix="pillion-batch-") as scratch:
        order = _order(found, file.parent, mapped, url, Path(scratch))
        rows = _run(order)
    where = f"{order.output.at}/{order.name}"
    if as_json:
        typer.echo(json.dumps({"output": where, "rows": rows}))
        return
    failed = f", {rows['failed']} failed: {where}/_errors says why" if rows["failed"] else ""
    typer.echo(f"{rows['written']} rows have a prediction{failed}\n{where}")


def _manifest(file: Path) -> BatchPrediction:
    from pillion.resources import BatchPrediction, load_manifests, validate  # noqa: PLC0415 - keeps --help quick

    text = text_of(file)
    problems = validate(text, source=str(file))
    if problems:
        raise CommandError("; ".join(map(str, problems)), code=2)
    resources = [manifest.resource for manifest in load_manifests(text, source=str(file))]
    found = [resource for resource in resources if isinstance(resource, BatchPrediction)]
    if len(found) != 1:
        there = "no BatchPrediction" if not found else f"{len(found)} BatchPredictions"
        raise CommandError(f"{file}: there is {there}; give a file with one", code=2)
    return found[0]


def _order(
    found: BatchPrediction, beside: Path, mapped: Mapping[str, Path], url: str | None, scratch: Path
) -> BatchOrder:
    import hashlib  # noqa: PLC0415 - keeps --help quick

    from pillion.batchpod.order import BatchOrder, Input, Output  # noqa: PLC0415 - keeps --help quick

    spec = found.spec
    # The same manifest goes on where it was; another one must not write among its files.
    told = {name: spec.to_api().get(name) for name in ("model", "inferenceService", "input", "output")}
    uid = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    limits: dict[str, Any] = {"split_bytes": spec.input.split_bytes, "max_row_bytes": spec.input.max_row_bytes}
    pods: dict[str, Any] = {"batch_size": spec.batch_size, "concurrency": spec.concurrency}
    return BatchOrder(
        name=found.metadata.name or "batch",
        uid=uid,
        input=Input(
            at=_place(spec.input.uri, beside, mapped),
            format=spec.input.format,
            id_field=spec.input.id_field or "",
            exclude=tuple(spec.input.exclude or ()),
            **_given(limits),
        ),
        output=Output(at=_place(spec.output.uri.rstrip("/"), beside, mapped), format=spec.output.format),
        model=_model(found, beside, mapped, scratch),
        service=_service(found, url),
        max_failures=spec.max_failures,
        work=str(scratch / "work"),
        **_given(pods),
    )


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _place(uri: str, beside: Path, mapped: Mapping[str, Path]) -> str:
    """Where rows are on this machine: a claim is a folder."""
    if not uri.startswith("pvc://"):
        return uri
    claim, _, rest = uri.removeprefix("pvc://").partition("/")
    folder = mapped.get(f"pvc://{claim}", beside / claim).resolve()
    if not folder.is_dir():
        text = f"{uri}: on this machine the claim {claim} is the folder {folder}, which is not there"
        raise CommandError(f"{text}. Make it, or say where it is: --map pvc://{claim}=PATH", code=2)
    return f"file://{folder}/{rest}"


def _model(found: BatchPrediction, beside: Path, mapped: Mapping[str, Path], scratch: Path) -> Model | None:
    from pillion.batchpod.order import Model  # noqa: PLC0415 - keeps --help quick
    from pillion.cli.local import resolve  # noqa: PLC0415 - as above

    given = found.spec.model
    if given is None:
        return None
    path = resolve(given.storage_uri, beside=beside, mapped=mapped)
    if path is None:
        from pillion.storage import FetchOptions, StorageError, fetch_sync  # noqa: PLC0415 - as above

        options = FetchOptions.from_environment(os.environ, allow_private_hosts=True, digest=given.digest)
        try:
            path = fetch_sync(given.storage_uri, scratch / "model", options).model_path
        except StorageError as error:
            raise CommandError(str(error)) from None
    form = given.model_format
    return Model(
        path=str(path),
        format=form.name if form else None,
        format_version=form.version if form else None,
        allow_pickle=bool(given.allow_pickle),
        trust_code=bool(given.trust_code),
        trusted_types=tuple(given.trusted_types or ()),
    )


def _service(found: BatchPrediction, url: str | None) -> Service | None:
    from pillion.batchpod.order import Service  # noqa: PLC0415 - keeps --help quick

    name = found.spec.inference_service
    if name is None:
        return None
    if url is None:
        text = f"the InferenceService {name!r} is of a cluster; say where it answers here"
        raise CommandError(f"{text}: pillion serve -f ..., then --url http://127.0.0.1:8080", code=2)
    return Service(url=url.rstrip("/"), model=name)


def _run(order: BatchOrder) -> dict[str, int]:
    import asyncio  # noqa: PLC0415 - keeps --help quick

    from pillion.batchpod.progress import Progress  # noqa: PLC0415 - keeps --help quick
    from pillion.batchpod.run import BatchRun  # noqa: PLC0415 - as above
    from pillion.podword import EndedError  # noqa: PLC0415 - as above
    from pillion.storage import StorageError  # noqa: PLC0415 - as above

    progress = Progress()
    try:
        asyncio.run(BatchRun(order, 0, os.environ, progress).run())
    except EndedError as error:
        remedy = error.fields["remedy"]
        raise CommandError(f"{error}; {remedy}" if remedy else str(error)) from None
    except StorageError as error:
        raise CommandError(str(error)) from None
    rows: dict[str, int] = progress.document()["rows"]
    return rows

"""``pillion push``: an artifact into storage, under a digest that a manifest can pin."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pillion.cli.failures import EXIT_CODES, CommandError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.oci.reference import Reference
    from pillion.storage.local_artifact import LocalArtifact
    from pillion.storage.pushing import Pushed, PushProgress

__all__ = ["destination_of", "read", "register", "stated_digest", "upload"]

_EPILOG = f"""\b
Examples:
  pillion push iris.skops s3://models/iris/v3/
  pillion push bert/ gs://models/bert-2024-11 --json
  pillion push iris/ oci://registry.example/models/iris:3
  AWS_ENDPOINT_URL=http://127.0.0.1:9000 pillion push iris.skops s3://models/iris.skops

Credentials come from the providers' variables, as for `pillion serve s3://...`; for a registry from `docker login`. A
digest is what `sha256sum` prints of a file; of a folder it is taken of the listing of its files; in a registry it is
that of the artifact.

{EXIT_CODES}"""


_REGISTRY: Final = "oci://"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("push", epilog=_EPILOG)(push)


def push(
    artifact: Annotated[Path, typer.Argument(help="A file or a folder.")],
    uri: Annotated[
        str, typer.Argument(help="s3://, gs://, az://, oci:// or file://; one that ends in / gets the file's name.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Overwrite what has other content.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Upload a model, and print the lines that a manifest wants: storageUri and digest.

    What is there already with the same content is left alone; with other content it is refused unless --force.
    """
    pushed = upload(read(artifact), uri, force=force)
    if as_json:
        described = {"storageUri": pushed.uri, "digest": pushed.digest, "bytes": pushed.size, "files": pushed.files}
        typer.echo(json.dumps(described | {"unchanged": pushed.unchanged}))
        return
    typer.echo(f"storageUri: {pushed.uri}\ndigest: {pushed.digest}")
    if pushed.unchanged:
        sys.stderr.write("it was there already, the same in every byte\n")


def read(path: Path) -> LocalArtifact:
    """Read and hash a model of this machine.

    Raises:
        CommandError: it is not there, or cannot be read.
    """
    if not path.exists():
        raise CommandError(f"no such file: {path}", code=2)
    from pillion.storage import StorageError  # noqa: PLC0415 - keeps --help quick
    from pillion.storage.local_artifact import read_artifact  # noqa: PLC0415 - as above

    try:
        return read_artifact(path)
    except StorageError as error:
        raise CommandError(str(error), code=2) from None


def upload(artifact: LocalArtifact, uri: str, *, force: bool) -> Pushed:
    """Upload with a progress bar on standard error.

    Raises:
        CommandError: the store refuses, something else is there, or the transfer failed.
    """
    from rich.console import Console  # noqa: PLC0415 - costs start-up
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn  # noqa: PLC0415 - as above

    from pillion.storage import Reason, StorageError  # noqa: PLC0415 - as above
    from pillion.storage.pushing import push_sync  # noqa: PLC0415 - as above

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("looking", total=artifact.size)

        def tell(progress: PushProgress) -> None:
            bar.update(task, description=progress.phase, completed=progress.done, total=progress.total)

        try:
            if uri.startswith(_REGISTRY):
                return _to_registry(artifact, uri, force=force, tell=tell)
            return push_sync(artifact, uri, os.environ, force=force, tell=tell)
        except StorageError as error:
            wrong = error.reason in {Reason.INVALID_URI, Reason.UNSUPPORTED_SCHEME, Reason.INVALID_SETTING}
            raise CommandError(str(error), code=2 if wrong else 1) from None


def destination_of(artifact: LocalArtifact, uri: str) -> str:
    """The storageUri that `upload` would give, without any contact to the store.

    Raises:
        CommandError: nothing can be uploaded there.
    """
    from pillion.storage import StorageError  # noqa: PLC0415 - keeps --help quick
    from pillion.storage.pushing import destination  # noqa: PLC0415 - as above

    if uri.startswith(_REGISTRY):
        return f"{_REGISTRY}{_reference(uri)}"
    try:
        return str(destination(uri, artifact))
    except StorageError as error:
        raise CommandError(str(error), code=2) from None


def stated_digest(artifact: LocalArtifact, uri: str) -> str:
    """The digest that a manifest states of the artifact at this storageUri."""
    if not uri.startswith(_REGISTRY):
        return artifact.digest
    from pillion.image.model_artifact import manifest_of  # noqa: PLC0415 - keeps --help quick
    from pillion.oci.content import digest_of  # noqa: PLC0415 - as above

    return digest_of(manifest_of(artifact))


def _reference(uri: str) -> Reference:
    """Where in a registry: by a tag, since the digest is only known then."""
    from pillion.oci.reference import Reference  # noqa: PLC0415 - keeps --help quick
    from pillion.storage import StorageError, parse_uri  # noqa: PLC0415 - as above

    try:
        parsed = parse_uri(uri)
    except StorageError as error:
        raise CommandError(str(error), code=2) from None
    if parsed.digest is not None:
        raise CommandError(f"{parsed}: the digest comes from the files: name a tag alone", code=2)
    return Reference.parse(f"{parsed.authority}/{parsed.path}")


def _to_registry(artifact: LocalArtifact, uri: str, *, force: bool, tell: Callable[[PushProgress], None]) -> Pushed:
    from pillion.image.model_artifact import push_artifact  # noqa: PLC0415 - only for registries
    from pillion.oci.errors import ImageError  # noqa: PLC0415 - as above
    from pillion.storage import FetchOptions  # noqa: PLC0415 - as above
    from pillion.storage.pushing import Pushed, PushProgress  # noqa: PLC0415 - as above

    reference = _reference(uri)
    insecure = frozenset(FetchOptions.from_environment(os.environ).insecure_registries)
    done = 0

    def sent(count: int) -> None:
        nonlocal done
        done += count
        tell(PushProgress("uploading", done, artifact.size))

    try:
        digest, unchanged = push_artifact(artifact, reference, os.environ, insecure=insecure, force=force, tell=sent)
    except ImageError as error:
        raise CommandError(str(error), code=2 if error.usage else 1) from None
    return Pushed(f"{_REGISTRY}{reference}", digest, artifact.size, len(artifact.files), unchanged=unchanged)

"""``pillion push``: an artifact into storage, under a digest that a manifest can pin."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer

from pillion.cli.failures import EXIT_CODES, CommandError

if TYPE_CHECKING:
    from pillion.storage.local_artifact import LocalArtifact
    from pillion.storage.pushing import Pushed

__all__ = ["destination_of", "read", "register", "upload"]

_EPILOG = f"""\b
Examples:
  pillion push iris.skops s3://models/iris/v3/
  pillion push bert/ gs://models/bert-2024-11 --json
  AWS_ENDPOINT_URL=http://127.0.0.1:9000 pillion push iris.skops s3://models/iris.skops

Credentials come from the providers' variables, as for `pillion serve s3://...`. A digest is what `sha256sum` prints
of a file; of a folder it is taken of the listing of its files.

{EXIT_CODES}"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("push", epilog=_EPILOG)(push)


def push(
    artifact: Annotated[Path, typer.Argument(help="A file or a folder.")],
    uri: Annotated[
        str, typer.Argument(help="s3://, gs://, az:// or file://; one that ends in / gets the file's name.")
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
    from pillion.storage.pushing import PushProgress, push_sync  # noqa: PLC0415 - as above

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("looking", total=artifact.size)

        def tell(progress: PushProgress) -> None:
            bar.update(task, description=progress.phase, completed=progress.done, total=progress.total)

        try:
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

    try:
        return str(destination(uri, artifact))
    except StorageError as error:
        raise CommandError(str(error), code=2) from None

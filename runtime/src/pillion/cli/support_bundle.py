"""``pillion support-bundle``: one archive of what somebody needs who is to find out what is wrong in a cluster."""

from __future__ import annotations

import datetime as dt
import io
import json
import platform
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pillion._version import __version__
from pillion.cli.cluster.options import Context, Kubeconfig, Namespace  # noqa: TC001 - typer reads them at run time
from pillion.cli.failures import EXIT_CODES, CommandError

if TYPE_CHECKING:
    from pillion.cli.cluster.bundle import Bundle
    from pillion.cli.cluster.kubectl import Kubectl

__all__ = ["register"]

_README: Final = """\
A support bundle of Pillion. Look through it before you hand it on.

Secrets were not read. Values of environment variables and annotations were taken out, but for those of Kubernetes and
of Pillion that hold no credentials; so was whatever looks like a credential, in objects, logs and metrics alike. What
is not written like one is not recognized.

  bundle.json    when and by whom, and what could not be collected, with the reason
  versions/      Kubernetes, and the definitions of Pillion
  namespaces/    objects, events, logs and metrics of the services
  operator/      the same of the operator
"""
_EPILOG = f"""\b
Examples:
  pillion support-bundle -n shop
  pillion support-bundle -n shop --operator-namespace serving -o shop.tar.gz

{EXIT_CODES}"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("support-bundle", epilog=_EPILOG)(support_bundle)


def support_bundle(
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    operator_namespace: Annotated[str, typer.Option(help="Namespace of the operator.")] = "pillion",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The archive, tar.gz.  [default: pillion-support-TIME.tar.gz]"),
    ] = None,
) -> None:
    """Collect what is needed to find out what is wrong: objects, events, logs, metrics and versions, without secrets.

    Secrets are never read, and what looks like a credential is taken out of everything else. Needs kubectl; what you
    may not read is left out and said.
    """
    from pillion.cli.cluster.bundle import collect  # noqa: PLC0415 - keeps --help quick
    from pillion.cli.cluster.kubectl import connect  # noqa: PLC0415 - as above

    now = dt.datetime.now(dt.UTC)
    file = output or Path(f"pillion-support-{now:%Y%m%dT%H%M%SZ}.tar.gz")
    if file.exists():
        raise CommandError(f"{file} is there already: name another file with --output", code=2)
    kubectl = connect(context, namespace, kubeconfig)
    _require_answer(kubectl)
    bundle = collect(kubectl, operator_namespace, lambda step: typer.echo(f"collecting {step}", err=True))
    bundle.files["README.txt"] = _README
    bundle.files["bundle.json"] = json.dumps(_about(kubectl, operator_namespace, bundle, now), indent=2) + "\n"
    _write(file, bundle, now)
    for path, why in sorted(bundle.missing.items()):
        typer.echo(f"not collected: {path}: {why.splitlines()[0] if why else 'no answer'}", err=True)
    size = f"{len(bundle.files)} files, {file.stat().st_size / 1024:.0f} KiB"
    typer.echo(f"{file}: {size}; look through it before you hand it on")


def _require_answer(kubectl: Kubectl) -> None:
    """Refuse to make an archive of nothing but refusals.

    Raises:
        CommandError: the cluster does not answer, or not to this user.
    """
    done = kubectl.run("version", "--output=json")
    if done.code != 0:
        raise kubectl.failure(done)


def _about(kubectl: Kubectl, operator_namespace: str, bundle: Bundle, now: dt.datetime) -> dict[str, object]:
    return {
        "collected": now.isoformat(timespec="seconds"),
        "context": kubectl.context,
        "namespace": kubectl.namespace,
        "operatorNamespace": operator_namespace,
        "pillion": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "missing": dict(sorted(bundle.missing.items())),
    }


def _write(file: Path, bundle: Bundle, now: dt.datetime) -> None:
    """Write the archive, for its owner alone.

    Raises:
        CommandError: it cannot be written.
    """
    folder = file.name.removesuffix(".tar.gz")
    try:
        file.touch(mode=0o600, exist_ok=False)
        with tarfile.open(file, "w:gz") as archive:
            for path, text in sorted(bundle.files.items()):
                content = text.encode()
                entry = tarfile.TarInfo(f"{folder}/{path}")
                entry.size, entry.mtime, entry.mode = len(content), int(now.timestamp()), 0o600
                archive.addfile(entry, io.BytesIO(content))
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror or error}", code=2) from None

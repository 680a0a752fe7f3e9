"""``pillion rollout``: which revisions a service has had, and going back, pausing and resuming."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from pillion.cli.cluster.options import Context, Kubeconfig, Namespace, ServiceName  # noqa: TC001 - typer reads them
from pillion.cli.failures import CLUSTER, EXIT_CODES, CommandError

if TYPE_CHECKING:
    from pillion.cli.cluster.kubectl import Kubectl
    from pillion.cli.cluster.objects import Object
    from pillion.cli.cluster.revisions import Revision

__all__ = ["register"]

_EPILOG = f"""\b
Examples:
  pillion rollout status iris
  pillion rollout undo iris
  pillion rollout undo iris --to-revision 4
  pillion rollout pause iris
  pillion rollout resume iris

{EXIT_CODES}"""
_COLUMNS = ("REVISION", "DIGEST", "STATE", "FIRST SEEN", "")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True, rich_markup_mode=None, help="Look after the rollouts of an InferenceService of a cluster."
    )
    group.command("status", epilog=_EPILOG)(status)
    group.command("undo", epilog=_EPILOG)(undo)
    group.command("pause", epilog=_EPILOG)(pause)
    group.command("resume", epilog=_EPILOG)(resume)
    app.add_typer(group, name="rollout")


def status(
    name: ServiceName,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Tell where the rollout is, and which revisions are kept.

    Exit code 1: the newest version does not serve yet, or was rolled back.
    """
    from pillion.cli.cluster.rollout import Stage, arrival  # noqa: PLC0415 - keeps --help quick

    kubectl = _connect(context, namespace, kubeconfig)
    service = kubectl.inference_service(name)
    where, known = arrival(service), _revisions(kubectl, name)
    newest, serving = _digests(service)
    if as_json:
        kept = [
            {"number": one.number, "digest": one.digest, "state": one.state, "since": one.since, "message": one.message}
            for one in known
        ]
        told = {"stage": str(where.stage), "reason": where.reason, "message": where.message}
        typer.echo(json.dumps(told | {"newest": newest, "serving": serving, "revisions": kept}))
    else:
        typer.echo(f"{name}: {where.stage}: {where.message or where.reason}")
        _table(known, newest, serving)
    if where.stage is not Stage.ARRIVED:
        raise typer.Exit(1)


def undo(
    name: ServiceName,
    to_revision: Annotated[int | None, typer.Option(min=1, help="This one.  [default: the last good one]")] = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Write the predictor of an earlier revision into the manifest.

    How many pods there are, and how versions take over, stays as it is now. Where a repository holds the manifest,
    change it there, too: what applies it next applies what it holds.
    """
    from pillion.cli.cluster.kubectl import INFERENCE_SERVICES  # noqa: PLC0415 - keeps --help quick
    from pillion.cli.cluster.objects import object_at, text_at  # noqa: PLC0415 - as above
    from pillion.cli.cluster.revisions import target, undone  # noqa: PLC0415 - as above

    kubectl = _connect(context, namespace, kubeconfig)
    service = kubectl.inference_service(name)
    if object_at(service, "spec", "predictor").get("followTrainings") is True:
        raise CommandError(
            f"{name} serves the model of the newest training, whatever its manifest says: set "
            "spec.predictor.followTrainings: false and its storageUri to the model to serve",
            code=CLUSTER,
        )
    chosen = target(_revisions(kubectl, name), _digests(service)[0], to_revision)
    predictor = undone(service, chosen)
    if predictor == object_at(service, "spec", "predictor"):
        typer.echo(f"{name} asks for revision {chosen.number} already")
        return
    # The version keeps a change that somebody made meanwhile from being lost.
    patch = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": text_at(service, "metadata", "resourceVersion")},
        {"op": "replace", "path": "/spec/predictor", "value": predictor},
    ]
    manager = "--field-manager=pillion-rollout"
    done = kubectl.run("patch", INFERENCE_SERVICES, name, "--type=json", manager, f"--patch={json.dumps(patch)}")
    if done.code != 0:
        raise kubectl.failure(done, doing=f"changing {name}")
    typer.echo(
        f"{name} goes back to revision {chosen.number} ({chosen.digest}); follow it: pillion rollout status {name}"
    )


def pause(
    name: ServiceName, namespace: Namespace = None, context: Context = None, kubeconfig: Kubeconfig = None
) -> None:
    """Keep new versions from going on: pods stay as they are until it is resumed."""
    from pillion.cli.cluster.revisions import PAUSED  # noqa: PLC0415 - keeps --help quick

    kubectl = _connect(context, namespace, kubeconfig)
    kubectl.inference_service(name)
    _annotate(kubectl, name, f"{PAUSED}=true", "--overwrite")
    typer.echo(f"rollouts of {name} are paused; go on: pillion rollout resume {name}")


def resume(
    name: ServiceName, namespace: Namespace = None, context: Context = None, kubeconfig: Kubeconfig = None
) -> None:
    """Let rollouts go on, and try a revision again that was rolled back."""
    from pillion.cli.cluster.revisions import CONTROLLER_REVISIONS, PAUSED  # noqa: PLC0415 - keeps --help quick

    kubectl = _connect(context, namespace, kubeconfig)
    newest = _digests(kubectl.inference_service(name))[0]
    _annotate(kubectl, name, f"{PAUSED}-")
    for one in _revisions(kubectl, name):
        if one.state == "Failed" and one.digest == newest:
            done = kubectl.run("delete", CONTROLLER_REVISIONS, one.name, "--ignore-not-found")
            if done.code != 0:
                raise kubectl.failure(done, doing=f"forgetting that revision {one.number} failed")
            typer.echo(f"revision {one.number} ({one.digest}) is tried again")
    typer.echo(f"rollouts of {name} go on")


def _connect(context: str | None, namespace: str | None, kubeconfig: str | None) -> Kubectl:
    from pillion.cli.cluster.kubectl import connect  # noqa: PLC0415 - keeps --help quick

    return connect(context, namespace, kubeconfig)


def _revisions(kubectl: Kubectl, name: str) -> list[Revision]:
    from pillion.cli.cluster.kubectl import OWNER_LABEL  # noqa: PLC0415 - keeps --help quick
    from pillion.cli.cluster.revisions import CONTROLLER_REVISIONS, revisions  # noqa: PLC0415 - as above

    listed = kubectl.list_of((CONTROLLER_REVISIONS,), f"{OWNER_LABEL}={name}")
    if listed.refused:
        raise kubectl.failure_of("; ".join(listed.refused))
    return revisions(listed.items)


def _digests(service: Object) -> tuple[str, str]:
    """The newest revision, and the newest that was ready."""
    from pillion.cli.cluster.objects import text_at  # noqa: PLC0415 - keeps --help quick

    predictor = ("status", "components", "predictor")
    return text_at(service, *predictor, "latestCreatedRevision"), text_at(service, *predictor, "latestReadyRevision")


def _annotate(kubectl: Kubectl, name: str, *arguments: str) -> None:
    from pillion.cli.cluster.kubectl import INFERENCE_SERVICES  # noqa: PLC0415 - keeps --help quick

    done = kubectl.run("annotate", INFERENCE_SERVICES, name, *arguments)
    if done.code != 0:
        raise kubectl.failure(done, doing=f"annotating {name}")


def _table(known: list[Revision], newest: str, serving: str) -> None:
    if not known:
        typer.echo("no revision has come to its end yet")
        return
    rows = [_COLUMNS]
    for one in known:
        marks = [mark for mark, digest in (("newest", newest), ("serving", serving)) if digest == one.digest]
        said = one.message or ", ".join(marks)
        rows.append((str(one.number), one.digest, one.state, one.since, said))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        typer.echo("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

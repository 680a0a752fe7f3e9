"""``pillion status``: an InferenceService of a cluster, what it was made into, and why it is not ready."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pillion.cli.cluster.options import Context, Kubeconfig, Namespace, ServiceName  # noqa: TC001 - typer reads them at run time
from pillion.cli.failures import EXIT_CODES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.cli.cluster.kubectl import Kubectl
    from pillion.cli.cluster.objects import Object
    from pillion.cli.cluster.tree import Report

__all__ = ["gather", "register"]

_KINDS: Final = (
    "deployments.apps",
    "replicasets.apps",
    "pods",
    "services",
    "configmaps",
    "poddisruptionbudgets.policy",
    "horizontalpodautoscalers.autoscaling",
    "networkpolicies.networking.k8s.io",
    "serviceaccounts",
)
_LISTENED: Final = 3
"""Pods whose logs are looked into: the others have most likely the same to say."""
_EPILOG = f"""\b
Examples:
  pillion status iris
  pillion status iris -n models --context production
  pillion status iris --json | jq -r .reason
  kubectl pillion status iris

Exit code 1: it is not Ready.

{EXIT_CODES}"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status", epilog=_EPILOG)(status)


def status(
    name: ServiceName,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Tell whether an InferenceService is ready, and if not, why and what to do.

    Shows what it was made into, the last telling log line of pods that are not well, and every condition. Needs
    kubectl, and the right to read these objects.
    """
    from pillion.cli.cluster.drawing import drawn  # noqa: PLC0415 - keeps --help quick
    from pillion.cli.cluster.kubectl import connect  # noqa: PLC0415 - as above

    found = gather(connect(context, namespace, kubeconfig), name)
    typer.echo(json.dumps(asdict(found), indent=2, default=str) if as_json else drawn(found))
    if not found.ready:
        raise typer.Exit(1)


def gather(kubectl: Kubectl, name: str) -> Report:
    """Look at the InferenceService, its children and the logs of pods that are not well.

    Raises:
        CommandError: it cannot be read.
    """
    from pillion.cli.cluster.kubectl import OWNER_LABEL  # noqa: PLC0415 - keeps --help quick
    from pillion.cli.cluster.tree import report  # noqa: PLC0415 - as above

    service = kubectl.inference_service(name)
    listed = kubectl.list_of(_KINDS, f"{OWNER_LABEL}={name}")
    return report(
        service,
        listed.items,
        _logs(kubectl, listed.items),
        context=kubectl.context,
        now=dt.datetime.now(dt.UTC),
        hidden=listed.refused,
    )


def _logs(kubectl: Kubectl, children: Sequence[Object]) -> dict[str, str]:
    from pillion.cli.cluster import pods  # noqa: PLC0415 - keeps --help quick
    from pillion.cli.cluster.objects import name_of  # noqa: PLC0415 - as above

    speaking = [(name_of(item), pods.voice(item)) for item in children if item.get("kind") == "Pod"]
    logs: dict[str, str] = {}
    for pod, voice in [(pod, voice) for pod, voice in speaking if voice is not None][:_LISTENED]:
        flags = ["--previous"] if voice.previous else []
        done = kubectl.run("logs", pod, f"--container={voice.container}", "--tail=50", *flags)
        if done.code == 0:
            logs[pod] = done.stdout
    return logs

"""``pillion logs``: what the pods of an InferenceService say."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pillion.cli.cluster.options import Context, Kubeconfig, Namespace, ServiceName  # noqa: TC001 - typer reads them
from pillion.cli.failures import CLUSTER, EXIT_CODES, CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.cli.cluster.objects import Object

__all__ = ["register"]

_EPILOG = f"""\b
Examples:
  pillion logs iris
  pillion logs iris -f
  pillion logs iris --container storage          # the step that fetches the model
  pillion logs iris --previous                   # of the run before the last restart

{EXIT_CODES}"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("logs", epilog=_EPILOG)(logs)


def logs(
    name: ServiceName,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    tail: Annotated[int, typer.Option(min=-1, help="Last lines of each container; -1: all.")] = 100,
    since: Annotated[str | None, typer.Option(help="Only newer than this: 30s, 5m, 2h.")] = None,
    container: Annotated[str | None, typer.Option("--container", "-c", help="One container.  [default: all]")] = None,
    previous: Annotated[bool, typer.Option("--previous", "-p", help="Of the run before the last restart.")] = False,
) -> None:
    """Print the logs of every pod of an InferenceService, each line with its pod and container."""
    from pillion.cli.cluster import pods  # noqa: PLC0415 - keeps --help quick
    from pillion.cli.cluster.kubectl import OWNER_LABEL, connect  # noqa: PLC0415 - as above

    kubectl = connect(context, namespace, kubeconfig)
    kubectl.inference_service(name)
    listed = kubectl.list_of(("pods",), f"{OWNER_LABEL}={name}")
    if listed.refused:
        raise kubectl.failure_of("; ".join(listed.refused))
    speaking = [pod for pod in listed.items if container in pods.containers(pod) or not container]
    if not any(pods.containers(pod) for pod in speaking):
        raise CommandError(f"{_silence(listed.items, name, container)}: see `pillion status {name}`", code=CLUSTER)
    command = [
        "logs",
        f"--selector={OWNER_LABEL}={name}",
        "--prefix",
        # A container that has not been started yet must not keep the others from being heard.
        "--ignore-errors",
        f"--tail={tail}",
        f"--max-log-requests={max(5, sum(len(pods.containers(pod)) for pod in listed.items) + 5)}",
        f"--container={container}" if container else "--all-containers",
    ]
    flags = {"--follow": follow, "--previous": previous, f"--since={since}": since is not None}
    command += [flag for flag, wanted in flags.items() if wanted]
    sys.stdout.flush()
    done = subprocess.run(kubectl.command(*command), check=False)  # noqa: S603 - the user's own kubectl
    if done.returncode != 0:
        raise CommandError(f"kubectl logs ended with {done.returncode}", code=CLUSTER)


def _silence(found: Sequence[Object], name: str, container: str | None) -> str:
    """Why there is nothing to hear."""
    from pillion.cli.cluster import pods  # noqa: PLC0415 - keeps --help quick

    if not found:
        return f"{name} has no pods"
    if container and (there := sorted({each for pod in found for each in pods.containers(pod)})):
        return f"no pod of {name} has run a container {container}; there are {', '.join(there)}"
    return f"no container of {name} has been started yet ({pods.state(found[0])})"

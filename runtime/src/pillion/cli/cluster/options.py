"""The options by which every command names a cluster; kubectl's names and meanings."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

__all__ = ["Context", "Kubeconfig", "Namespace", "OptionalServiceName", "ServiceName"]


def _service_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The InferenceServices whose names begin so, for the shell; none where the cluster does not answer at once."""
    from pillion.cli.cluster.kubectl import INFERENCE_SERVICES, connect  # noqa: PLC0415 - keeps --help quick
    from pillion.cli.failures import CommandError  # noqa: PLC0415 - as above

    given = [ctx.params.get(name) for name in ("context", "namespace", "kubeconfig")]
    try:
        kubectl = connect(*(None if value is None else str(value) for value in given))
        done = kubectl.run("get", INFERENCE_SERVICES, "--output=name", "--request-timeout=2s", seconds=3)
    except CommandError:
        return []
    names = [line.rpartition("/")[2] for line in done.stdout.split()]
    return [name for name in names if name.startswith(incomplete)]


ServiceName: TypeAlias = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the InferenceService.", autocompletion=_service_names)
]
OptionalServiceName: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]", help="Name of an InferenceService.  [default: all]", autocompletion=_service_names
    ),
]
Namespace: TypeAlias = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Namespace.  [default: the context's]")
]
Context: TypeAlias = Annotated[str | None, typer.Option(help="Context of the kubeconfig.  [default: the current one]")]
Kubeconfig: TypeAlias = Annotated[str | None, typer.Option(help="Kubeconfig file.  [default: as kubectl finds it]")]

"""``pillion predict``: one call of a served model, over REST or gRPC."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Annotated, Final

import typer

from pillion.cli.cluster.options import Context, Kubeconfig, Namespace  # noqa: TC001 - typer reads them at run time
from pillion.cli.failures import CLUSTER, EXIT_CODES, CommandError, unreadable
from pillion.cli.server_options import HERE, Ca, Cert, Certificates, Key

__all__ = ["register"]

_HERE_BY_GRPC: Final = "127.0.0.1:8081"
_EPILOG = f"""\b
Examples:
  pillion predict iris --data '[[5.1,3.5,1.4,0.2]]'
  pillion predict iris --data @rows.json -n models               # an InferenceService of the cluster
  pillion predict iris --data @rows.json --url http://127.0.0.1:9000
  pillion predict https://example.org:8443/v1/models/iris:predict --data @rows.json --ca ca.crt
  pillion predict iris --grpc --url 127.0.0.1:8081 --data '[[5.1,3.5,1.4,0.2]]'
  pillion predict iris --url unix:///run/pillion/http.sock --data @rows.json

Data is a list of rows (or of objects by column), or a whole request body.

{EXIT_CODES}"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict", epilog=_EPILOG)(predict)


def predict(  # noqa: PLR0917 - the options of a command line
    ctx: typer.Context,
    target: Annotated[str, typer.Argument(metavar="MODEL|URL", help="Name of the model, or its whole URL.")],
    data: Annotated[str, typer.Option("--data", "-d", help="JSON, @FILE, or - for standard input.")],
    url: Annotated[str | None, typer.Option(help="The server.  [default: see above]")] = None,
    grpc: Annotated[bool, typer.Option("--grpc", help="Call over gRPC (Open Inference Protocol v2).")] = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the answer.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole answer.")] = False,
) -> None:
    """Call a model and print its predictions.

    Without --url, or PILLION_URL, it is the server on this machine (127.0.0.1:8080, gRPC 8081) where that serves the
    model, else the InferenceService of that name in the current context of kubectl, through a forwarded port. -n and
    --context say that it is the cluster's.
    """
    body = _data(data)
    call = Call(target, body, grpc=grpc, certificates=Certificates(ca, cert, key), timeout=timeout)
    plugin = (ctx.find_root().info_name or "").startswith("kubectl")
    chosen = plugin or any(value is not None for value in (namespace, context, kubeconfig))
    if url is not None and chosen:
        raise CommandError("--url names a server, -n and --context a cluster: give one of them", code=2)
    url = url or (None if chosen else os.environ.get("PILLION_URL"))
    if url is not None or "://" in target:
        answer = call.to(url)
    elif chosen:
        answer = _by_cluster(call, context, namespace, kubeconfig)
    else:
        answer = _wherever(call)
    shown = answer.get("predictions", answer.get("outputs", answer))
    typer.echo(json.dumps(answer if as_json else shown, separators=(",", ":")))


@dataclass(frozen=True, slots=True)
class Call:
    """What to ask of whichever server it will be."""

    target: str
    body: object
    _: KW_ONLY
    grpc: bool
    certificates: Certificates
    timeout: float

    def to(self, url: str | None, *, server_name: str | None = None) -> dict[str, object]:
        """Send it; the answer's JSON."""
        if self.grpc or (url or "").startswith("grpc"):
            from pillion.cli.predict_grpc import call as call_grpc  # noqa: PLC0415 - keeps --help quick

            return call_grpc(
                self.target, self.body, url or _HERE_BY_GRPC, self.certificates, timeout=self.timeout,
                server_name=server_name,
            )  # fmt: skip
        from pillion.cli.predict_rest import call as call_rest  # noqa: PLC0415 - as above

        return call_rest(
            self.target, self.body, url or HERE, self.certificates, timeout=self.timeout, server_name=server_name
        )


def _wherever(call: Call) -> dict[str, object]:
    """By the server on this machine that has the model, else by a cluster where one is chosen."""
    from pillion.cli.cluster.kubectl import available  # noqa: PLC0415 - keeps --help quick
    from pillion.cli.predict_rest import serves  # noqa: PLC0415 - as above

    if serves(HERE, call.target) or not available():
        return call.to(None)
    try:
        return _by_cluster(call, None, None, None)
    except CommandError as failure:
        if failure.code != CLUSTER:
            raise
        # Whoever meant a server of this machine must not be led to look for the fault in a cluster.
        here = f"no server on {HERE.partition('://')[2]} has the model {call.target} (--url names another)"
        raise CommandError(f"{here}, and in the cluster: {failure}", code=CLUSTER) from None


def _by_cluster(call: Call, context: str | None, namespace: str | None, kubeconfig: str | None) -> dict[str, object]:
    from pillion.cli.cluster.kubectl import connect  # noqa: PLC0415 - keeps --help quick
    from pillion.cli.predict_cluster import way_in  # noqa: PLC0415 - as above

    kubectl = connect(context, namespace, kubeconfig)
    with way_in(kubectl, call.target, grpc=call.grpc, ca=call.certificates.ca) as way:
        # Said, since the same command may mean a server on this machine.
        sys.stderr.write(f"InferenceService {call.target}, namespace {kubectl.namespace}, context {kubectl.context}\n")
        if call.certificates.given and not way.url.startswith(("https://", "grpcs://")):
            raise CommandError(f"--ca, --cert and --key: {call.target} has no TLS (spec.predictor.tls)", code=2)
        certificates = replace(call.certificates, ca=way.ca)
        return replace(call, certificates=certificates).to(way.url, server_name=way.host)


def _data(text: str) -> object:
    if text == "-":
        text = sys.stdin.read()
    elif text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise unreadable(f"--data: {text[1:]}", error) from None
    try:
        value: object = json.loads(text)
    except ValueError as error:
        raise CommandError(f"--data is not JSON: {error}", code=2) from None
    return value
